// Runs the kernel `gemv`, a thread block after another.
extern "C" void run(int blocks, const u16* x, const float* nested_code, const Segments* segments, const Code* code, int tiles,
                    int features, int x_stride, int out_stride) {
    gridDim = {blocks};
    for (int block = 0; block < blocks; block++) {
        warps.clear();
        group_barriers.clear();
        for (int i = 0; i < kThreads / 32; i++) warps.push_back(std::make_unique<Warp>());
        for (int i = 0; i <= GROUPS; i++) group_barriers.push_back(std::make_unique<std::barrier<>>(WARPS * 32));
        block_barrier = std::make_unique<std::barrier<>>(kThreads);
        memset(shared, 0xff, sizeof shared);  // not a number, wherever nothing is written
        std::vector<std::thread> threads;
        for (int thread = 0; thread < kThreads; thread++)
            threads.emplace_back([=] {
                threadIdx = {thread};
                blockIdx = {block};
                gemv(x, nested_code, *segments, *code, tiles, features, x_stride, out_stride);
            });
        for (auto& thread : threads) thread.join();
    }
}
