// Draws a token from logits and records the step, in one kernel and without a sort of the vocabulary.
//
// BLOCKS blocks each hold a part of the vocabulary, sorted, in shared memory. Cuts (top-k by count, top-p by mass) are found by
// a search for the key at which a sum over the whole vocabulary crosses a number, DIGIT bits a round: each thread tries one
// threshold, each block adds what it has above it. Sums of mass are integers (units of 2^-40 of the likeliest token), so that
// they don't depend on the order of additions. Blocks wait for each other: all of them must be on the GPU at once.
//
// A token's key orders by penalized logit, then by lower id: (ordered bits of the float) << LOW | (LOW ones - id).
//
// Definitions: inference/captured/sampling.py, which is this in plain torch.

#ifndef THREADS
#define THREADS 512
#endif
#define LOW 19
#ifndef DIGIT
#define DIGIT 8
#endif
#define VALUES (1 << DIGIT)    // thresholds of a round
#define HEAD 8                // numbers of a record before its columns
#define ROUNDS (32 / DIGIT + (32 + LOW) / DIGIT + 1)
// CAPACITY: places of a block's part, a power of two. COUNT: candidates to record, at most 32. LOGIT: the logits' type.

#define UNIT 1099511627776.0  // 2^40

#if LOGIT == 0
typedef float Stored;
__device__ __forceinline__ float widened(Stored value) { return value; }
#elif LOGIT == 1
typedef u16 Stored;
__device__ __forceinline__ float widened(Stored value) { return Bf16::to_float(value); }
#else
typedef u16 Stored;
__device__ __forceinline__ float widened(Stored value) { return Fp16::to_float(value); }
#endif

#define INFINITE __int_as_float(0x7f800000)

enum { TEMPERATURE, TOP_P, MIN_P, REPETITION, FREQUENCY, PRESENCE, ENTROPY_THRESHOLD, ENTROPY_BIAS };
enum { TOP_K, KEY, STEP };

struct Part {  // what a block knows of its part of the vocabulary
    double raw_sum, raw_weighted, sum;
    float raw_highest, highest;
    u64 first;  // the likeliest token's key
    int invalid;
    int padding;
};

struct Turn {  // sums over all blocks; two of them take turns, so that one can be cleared while the other is in use
    u64 total, after_p, after_min, winner;
    u64 counts[ROUNDS][VALUES];
    u64 masses[ROUNDS][VALUES];
};

struct Scratch {  // zeroed once
    u64 arrivals;
    u32 launches, unused;
    Part parts[BLOCKS];
    u64 candidates[BLOCKS][32];
    Turn turns[2];
};

struct Controls {
    const double* numbers;
    i64* whole;
    const float* bias;
    u8* seen;
    float* counts;
};

__device__ __forceinline__ u32 ordered(float value) {
    u32 bits = __float_as_uint(value + 0.0f);  // -0 and 0 are the same
    return bits ^ ((bits >> 31) ? 0xffffffffu : 0x80000000u);
}

__device__ __forceinline__ float unordered(u32 bits) {
    return __uint_as_float(bits ^ ((bits >> 31) ? 0x80000000u : 0xffffffffu));
}

__device__ __forceinline__ u64 key_of(float value, u32 id) {
    return ((u64)ordered(value) << LOW) | (((1u << LOW) - 1) - id);
}

__device__ __forceinline__ u32 id_of(u64 key) { return ((1u << LOW) - 1) - (u32)(key & ((1u << LOW) - 1)); }
__device__ __forceinline__ float value_of(u64 key) { return unordered((u32)(key >> LOW)); }

// Every block has come here, and what they wrote before can be read.
__device__ void wait_for_all(Scratch* scratch) {
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();
        u64 before = atomicAdd(&scratch->arrivals, 1ull);
        u64 target = (before / BLOCKS + 1) * BLOCKS;
        while (*(volatile u64*)&scratch->arrivals < target) { }
        __threadfence();
    }
    __syncthreads();
}

__device__ __forceinline__ float penalized(float raw, u32 id, const Controls& controls) {
    float repetition = (float)controls.numbers[REPETITION];
    float value = raw + controls.bias[id];
    if (controls.seen[id]) value = value < 0.0f ? value * repetition : value / repetition;
    float count = controls.counts[id];
    float came = count > 0.0f ? 1.0f : 0.0f;
    return value - (count * (float)controls.numbers[FREQUENCY] + came * (float)controls.numbers[PRESENCE]);
}

__device__ __forceinline__ double warp_sum(double value) {
    for (int offset = 16; offset > 0; offset >>= 1) value += __shfl_xor_sync(0xffffffffu, value, offset);
    return value;
}

__device__ __forceinline__ float warp_highest(float value) {
    for (int offset = 16; offset > 0; offset >>= 1) value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, offset));
    return value;
}

__device__ double block_sum(double value, double* room) {
    value = warp_sum(value);
    __syncthreads();
    if ((threadIdx.x & 31) == 0) room[threadIdx.x >> 5] = value;
    __syncthreads();
    double sum = 0.0;
    for (int warp = 0; warp < THREADS / 32; ++warp) sum += room[warp];
    return sum;
}

__device__ float block_highest(float value, double* room) {
    value = warp_highest(value);
    __syncthreads();
    if ((threadIdx.x & 31) == 0) room[threadIdx.x >> 5] = (double)value;
    __syncthreads();
    float highest = -INFINITE;
    for (int warp = 0; warp < THREADS / 32; ++warp) highest = fmaxf(highest, (float)room[warp]);
    return highest;
}

// Bitonic, descending. A warp's 32 neighbouring pairs with strides up to 32 lie in 64 places of its own.
__device__ void sort_keys(u64* keys) {
    __syncthreads();
    for (int size = 2; size <= CAPACITY; size <<= 1) {
        for (int stride = size >> 1; stride > 0; stride >>= 1) {
            for (int pair = threadIdx.x; pair < CAPACITY / 2; pair += THREADS) {
                int low = 2 * pair - (pair & (stride - 1)), high = low + stride;
                bool descending = (low & size) == 0;
                u64 one = keys[low], other = keys[high];
                if ((one < other) == descending) { keys[low] = other; keys[high] = one; }
            }
            // The next stride is half of this one, or, after 1, as large as this size.
            bool stays = (stride > 1 ? stride : size) <= 32;
            if (stays) __syncwarp(); else __syncthreads();
        }
    }
    __syncthreads();
}

// How many of the sorted keys are at least this large.
__device__ __forceinline__ int count_from(const u64* keys, int size, u64 least) {
    int low = 0, high = size;
    while (low < high) {
        int middle = (low + high) >> 1;
        if (keys[middle] >= least) low = middle + 1; else high = middle;
    }
    return low;
}

__device__ __forceinline__ u64 mass_of(u64 key, float highest, float temperature) {
    if (key == 0) return 0;
    return (u64)((double)expf((value_of(key) - highest) / temperature) * UNIT + 0.5);
}

// Exp(1) by key, step and token: inference/random_stream.py.
__device__ __forceinline__ float exponential(u64 key, u64 step, u32 id) {
    u64 z = ((u64)id + (step << 32)) * 0x9E3779B97F4A7C15ull + key;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    z = (z ^ (z >> 31)) >> 12;
    return (float)-log(((double)z + 0.5) * 2.220446049250313e-16);
}

// The highest threshold of a round, the digits so far with one more, for which the sum passes the test.
template <bool BY_COUNT>
__device__ u64 next_digit(Scratch* scratch, Turn* turn, int round, u64 found, int shift, int values, const u64* keys,
                          const u64* masses, u64 wanted, u64* mass_found) {
    if (threadIdx.x < values) {
        u64 threshold = found | ((u64)threadIdx.x << shift);
        // By count: keys from the threshold on. By mass: keys above it.
        int count = count_from(keys, CAPACITY, BY_COUNT ? threshold : threshold + 1);
        u64 mass = masses[count];
        if (BY_COUNT && count) atomicAdd(&turn->counts[round][threadIdx.x], (u64)count);
        if (mass) atomicAdd(&turn->masses[round][threadIdx.x], mass);
    }
    wait_for_all(scratch);
    bool passes = false;
    if (threadIdx.x < values) {
        const u64* sums = BY_COUNT ? turn->counts[round] : turn->masses[round];
        passes = __ldcg(&sums[threadIdx.x]) >= wanted;
    }
    int chosen = max(0, __syncthreads_count(passes) - 1);
    if (mass_found) *mass_found = __ldcg(&turn->masses[round][chosen]);
    return found | ((u64)chosen << shift);
}

extern "C" __global__ void __launch_bounds__(THREADS) draw(
    const Stored* logits, int vocabulary, const double* numbers, i64* whole, const float* bias, u8* seen, float* counts,
    i64* token_out, float* own_bias, double* record, Scratch* scratch) {
    extern __shared__ u64 shared[];
    u64* keys = shared;                   // (CAPACITY,) sorted by penalized logit
    u64* raw_keys = shared + CAPACITY;    // (CAPACITY,) sorted by logit; later the other blocks' candidates
    u64* masses = raw_keys + CAPACITY;    // (CAPACITY + 1,) mass of the keys before each place
    __shared__ double room[THREADS / 32];
    __shared__ u64 warps[THREADS / 32];
    __shared__ Part whole_part;
    __shared__ u64 best;
    __shared__ int ranks[32], differs;

    wait_for_previous();
    Controls controls = {numbers, whole, bias, seen, counts};
    Turn* turn = &scratch->turns[*(volatile u32*)&scratch->launches & 1];
    Turn* next_turn = &scratch->turns[(*(volatile u32*)&scratch->launches & 1) ^ 1];
    for (int place = blockIdx.x * THREADS + threadIdx.x; place < sizeof(Turn) / 8; place += BLOCKS * THREADS)
        ((u64*)next_turn)[place] = 0;
    if (threadIdx.x == 0) { best = 0; differs = 0; }
    if (threadIdx.x < 32) ranks[threadIdx.x] = 0;
    __syncthreads();

    // This block's part: keys, and what is needed for the two distributions as they are.
    int part = (vocabulary + BLOCKS - 1) / BLOCKS, start = blockIdx.x * part;
    int size = max(0, min(part, vocabulary - start));
    float raw_highest = -INFINITE, highest = -INFINITE;
    bool invalid = false;
    for (int place = threadIdx.x; place < CAPACITY; place += THREADS) {
        keys[place] = raw_keys[place] = 0;
        if (place < size) {
            u32 id = start + place;
            float raw = widened(logits[id]);
            float value = penalized(raw, id, controls);
            invalid |= raw != raw || raw == INFINITE || value != value;
            raw_highest = fmaxf(raw_highest, raw);
            highest = fmaxf(highest, value);
            keys[place] = key_of(value, id);
            raw_keys[place] = key_of(raw, id);
            if (keys[place] != raw_keys[place]) differs = 1;
        }
    }
    raw_highest = block_highest(raw_highest, room);
    highest = block_highest(highest, room);
    double raw_sum = 0.0, raw_weighted = 0.0, sum = 0.0;
    for (int place = threadIdx.x; place < size; place += THREADS) {
        float raw = value_of(raw_keys[place]), value = value_of(keys[place]);
        if (raw > -INFINITE) {
            double weight = (double)expf(raw - raw_highest);
            raw_sum += weight;
            raw_weighted += weight * (double)(raw - raw_highest);
        }
        if (value > -INFINITE) sum += (double)expf(value - highest);
    }
    raw_sum = block_sum(raw_sum, room);
    raw_weighted = block_sum(raw_weighted, room);
    sum = block_sum(sum, room);
    int any_invalid = __syncthreads_or(invalid);
    sort_keys(raw_keys);
    if (differs) {
        sort_keys(keys);
    } else {
        for (int place = threadIdx.x; place < CAPACITY; place += THREADS) keys[place] = raw_keys[place];
        __syncthreads();
    }
    if (threadIdx.x < 32) scratch->candidates[blockIdx.x][threadIdx.x] = raw_keys[threadIdx.x];
    if (threadIdx.x == 0) {
        Part mine = {raw_sum, raw_weighted, sum, raw_highest, highest, keys[0], any_invalid, 0};
        scratch->parts[blockIdx.x] = mine;
    }
    wait_for_all(scratch);

    // The whole: totals of both distributions, the raw one's entropy, the likeliest token.
    if (threadIdx.x < 32) {
        Part one = {0.0, 0.0, 0.0, -INFINITE, -INFINITE, 0, 0, 0};
        for (int block = threadIdx.x; block < BLOCKS; block += 32) {
            const volatile Part* other = &scratch->parts[block];
            float other_raw = other->raw_highest, other_highest = other->highest;
            float raw_top = fmaxf(one.raw_highest, other_raw), top = fmaxf(one.highest, other_highest);
            if (raw_top > -INFINITE) {
                double mine = one.raw_highest > -INFINITE ? exp((double)(one.raw_highest - raw_top)) : 0.0;
                double its = other_raw > -INFINITE ? exp((double)(other_raw - raw_top)) : 0.0;
                double shift_mine = mine > 0.0 ? (double)(one.raw_highest - raw_top) : 0.0;
                double shift_its = its > 0.0 ? (double)(other_raw - raw_top) : 0.0;
                one.raw_weighted = mine * (one.raw_weighted + one.raw_sum * shift_mine)
                    + its * (other->raw_weighted + other->raw_sum * shift_its);
                one.raw_sum = mine * one.raw_sum + its * other->raw_sum;
            }
            if (top > -INFINITE) {
                double mine = one.highest > -INFINITE ? exp((double)(one.highest - top)) : 0.0;
                double its = other_highest > -INFINITE ? exp((double)(other_highest - top)) : 0.0;
                one.sum = mine * one.sum + its * other->sum;
            }
            one.raw_highest = raw_top;
            one.highest = top;
            one.first = max(one.first, (u64)other->first);
            one.invalid |= other->invalid;
        }
        float raw_top = warp_highest(one.raw_highest), top = warp_highest(one.highest);
        double raw_scale = one.raw_highest > -INFINITE ? exp((double)(one.raw_highest - raw_top)) : 0.0;
        double raw_shift = raw_scale > 0.0 ? (double)(one.raw_highest - raw_top) : 0.0;
        double scale = one.highest > -INFINITE ? exp((double)(one.highest - top)) : 0.0;
        double weighted = warp_sum(raw_scale * (one.raw_weighted + one.raw_sum * raw_shift));
        double raw_all = warp_sum(raw_scale * one.raw_sum), all = warp_sum(scale * one.sum);
        u64 first = one.first;
        for (int offset = 16; offset > 0; offset >>= 1) first = max(first, __shfl_xor_sync(0xffffffffu, first, offset));
        int bad = __any_sync(0xffffffffu, one.invalid);
        if (threadIdx.x == 0) {
            Part found = {raw_all, weighted, all, raw_top, top, first, bad, 0};
            whole_part = found;
        }
    }
    __syncthreads();
    Part everything = whole_part;
    double total = (double)everything.raw_highest + log(everything.raw_sum);
    double penalized_total = (double)everything.highest + log(everything.sum);
    if (everything.invalid) total = (double)INFINITE;
    double entropy = log(everything.raw_sum) - everything.raw_weighted / everything.raw_sum;

    float temperature = (float)numbers[TEMPERATURE];
    bool greedy = temperature < 1e-30f;
    if (greedy) temperature = 1.0f;
    float top_logit = everything.highest;

    // Masses before each place of the sorted part.
    const int EACH = CAPACITY / THREADS;
    u64 own = 0;
    for (int place = 0; place < EACH; ++place) own += mass_of(keys[threadIdx.x * EACH + place], top_logit, temperature);
    u64 before = own;
    for (int offset = 1; offset < 32; offset <<= 1) {
        u64 other = __shfl_up_sync(0xffffffffu, before, offset);
        if ((threadIdx.x & 31) >= offset) before += other;
    }
    if ((threadIdx.x & 31) == 31) warps[threadIdx.x >> 5] = before;
    __syncthreads();
    before -= own;
    for (int warp = 0; warp < (threadIdx.x >> 5); ++warp) before += warps[warp];
    for (int place = 0; place < EACH; ++place) {
        masses[threadIdx.x * EACH + place] = before;
        before += mass_of(keys[threadIdx.x * EACH + place], top_logit, temperature);
    }
    if (threadIdx.x == THREADS - 1) {
        masses[CAPACITY] = before;
        atomicAdd(&turn->total, before);
    }

    // The other blocks' candidates, to rank this one's among: while the sums come together.
    if (COUNT > 0) {
        for (int place = threadIdx.x; place < BLOCKS * 32; place += THREADS)
            raw_keys[place] = __ldcg(&((const u64*)scratch->candidates)[place]);
        __syncthreads();
        int candidate = threadIdx.x & 31, above = 0;
        u64 key = raw_keys[blockIdx.x * 32 + candidate];
        for (int list = threadIdx.x >> 5; list < BLOCKS; list += THREADS / 32)
            above += count_from(raw_keys + list * 32, 32, key + 1);
        atomicAdd(&ranks[candidate], above);
    }
    wait_for_all(scratch);
    u64 all_mass = __ldcg(&turn->total);

    // Top-k, ties included: the highest value that at least k tokens reach.
    i64 top_k = whole[TOP_K];
    u64 k_cut = 0, k_mass = all_mass;
    int round = 0;
    if (top_k > 0 && !greedy) {
        for (int shift = 32 + LOW - DIGIT; shift >= LOW; shift -= DIGIT)
            k_cut = next_digit<true>(scratch, turn, round++, k_cut, shift, VALUES, keys, masses, (u64)top_k, &k_mass);
    }
    // Top-p: the first key with that much above it does not stay, nor does anything after it.
    double top_p = numbers[TOP_P];
    u64 cut = k_cut;
    if (top_p < 1.0 && !greedy) {
        u64 wanted = (u64)ceil(top_p * (double)k_mass);
        u64 found = 0;
        for (int shift = 32 + LOW - DIGIT; shift > 0; shift -= DIGIT)
            found = next_digit<false>(scratch, turn, round++, found, shift, VALUES, keys, masses, wanted, nullptr);
        found = next_digit<false>(scratch, turn, round++, found, 0, 1 << ((32 + LOW) % DIGIT), keys, masses, wanted, nullptr);
        cut = min(found + 1, everything.first);
    }

    // The race among what stays.
    float min_p = (float)numbers[MIN_P];
    u64 stream = (u64)whole[KEY], step = (u64)whole[STEP];
    u64 mine = 0, min_mass = 0;
    int stay = count_from(keys, CAPACITY, max(cut, (u64)1));
    if (!greedy) {
        for (int place = threadIdx.x; place < stay; place += THREADS) {
            float weight = expf((value_of(keys[place]) - top_logit) / temperature);
            if (weight < min_p) continue;
            min_mass += (u64)((double)weight * UNIT + 0.5);
            u32 id = id_of(keys[place]);
            float arrival = weight / exponential(stream, step, id);
            mine = max(mine, ((u64)__float_as_uint(arrival) << 32) | (0xffffffffu - id));
        }
        for (int offset = 16; offset > 0; offset >>= 1) {
            mine = max(mine, __shfl_xor_sync(0xffffffffu, mine, offset));
            min_mass += __shfl_xor_sync(0xffffffffu, min_mass, offset);
        }
        if ((threadIdx.x & 31) == 0) {
            atomicMax(&best, mine);
            if (min_mass) atomicAdd(&turn->after_min, min_mass);
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            atomicMax(&turn->winner, best);
            if (masses[stay]) atomicAdd(&turn->after_p, masses[stay]);
        }
    }
    wait_for_all(scratch);

    // The record. Each block writes those of its tokens that are among the candidates; the first block the rest.
    u32 token = greedy ? id_of(everything.first) : 0xffffffffu - (u32)(__ldcg(&turn->winner) & 0xffffffffu);
    if (token >= (u32)vocabulary) token = 0;  // invalid logits: the host refuses the step
    double mass_k = (double)k_mass, mass_p = (double)__ldcg(&turn->after_p), mass_min = (double)__ldcg(&turn->after_min);
    int thread = threadIdx.x;
    if (thread <= 32) {
        bool is_chosen = thread == 32;
        int rank = is_chosen ? COUNT : ranks[thread];
        u64 key = is_chosen ? 0 : raw_keys[blockIdx.x * 32 + thread];
        if (is_chosen ? blockIdx.x == 0 : (key != 0 && rank < COUNT)) {
            u32 id = is_chosen ? token : id_of(key);
            float raw = widened(logits[id]);
            float value = penalized(raw, id, controls);
            u64 by_value = key_of(value, id);
            double weight = (double)expf((value - top_logit) / temperature) * UNIT;
            bool in_min = by_value >= cut && weight >= (double)min_p * UNIT;
            double certain = id == token ? 1.0 : 0.0;
            double stages[4] = {weight / (double)all_mass, by_value >= k_cut ? weight / mass_k : 0.0,
                                by_value >= cut ? weight / mass_p : 0.0, in_min ? weight / mass_min : 0.0};
            double* column = record + HEAD + rank;
            const int width = COUNT + 1;
            column[0] = (double)id;
            column[width] = (double)raw - total;
            column[2 * width] = exp((double)raw - total);
            column[3 * width] = exp((double)value - penalized_total);
            for (int stage = 0; stage < 4; ++stage) column[(4 + stage) * width] = greedy ? certain : fmin(stages[stage], 1.0);
        }
    }
    if (blockIdx.x == 0 && thread == 0) {
        float chosen = penalized(widened(logits[token]), token, controls);
        record[0] = total;
        record[1] = penalized_total;
        record[2] = entropy;
        record[3] = 0.0;
        record[4] = greedy ? 1.0 - exp((double)chosen - penalized_total) : 0.0;
        record[5] = greedy ? 0.0 : fmax(0.0, 1.0 - mass_k / (double)all_mass);
        record[6] = greedy ? 0.0 : fmax(0.0, 1.0 - mass_p / mass_k);
        record[7] = greedy ? 0.0 : fmax(0.0, 1.0 - mass_min / mass_p);
        *own_bias = entropy > numbers[ENTROPY_THRESHOLD] ? (float)numbers[ENTROPY_BIAS] : 0.0f;
        *token_out = (i64)token;
    }
    // What the next draw looks at changes only when every block has looked.
    wait_for_all(scratch);
    if (blockIdx.x == 0 && thread == 0) {
        seen[token] = 1;
        counts[token] += 1.0f;
        whole[STEP] += 1;
        scratch->launches += 1;
    }
}
