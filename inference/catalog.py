"""The models on this computer: finding, describing and listing them. Never the network, never the weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from inference.errors import InferenceError, ModelUnsupported
from inference.events import (
    InspectRequest,
    ListModelsRequest,
    LoadWay,
    ModelEntry,
    ModelInspected,
    ModelsListed,
)
from inference.models import architecture, estimates, model_files, safety
from inference.models.describing import describe
from inference.models.model_files import BUILTIN, ModelFiles, find_model
from inference.models.quantization import QUANTIZATIONS

__all__ = ["find_model", "inspect", "list_models"]

#: Endings of the class names of models that write text.
_WRITERS = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")


def inspect(request: InspectRequest) -> ModelInspected:
    """Describe a model and what loading it would take, from its files' headers.

    Raises:
        InferenceError: What :func:`find_model` raises; or the model needs code of its own, or is of an
            architecture that is not known.
        InvalidRequest: There is no such quantization.
    """
    files = find_model(request.model)
    if refusal := _refusal(files):
        raise refusal
    files = model_files.with_pickled_tensors(files)
    plan = estimates.plan(
        files,
        quantization=request.quantization,
        device=request.device,
        context_length=request.context_length,
        scaling=request.rope,
    )
    info = describe(files, plan.dtype)
    return ModelInspected(
        run_id=request.run_id,
        info=info,
        estimate=plan.estimate,
        ways=_ways(files, request, plan.estimate.free),
    )


def _ways(files: ModelFiles, request: InspectRequest, free: int) -> tuple[LoadWay, ...]:
    """What each precision would take."""
    found = []
    for quantization in QUANTIZATIONS:
        estimate = estimates.plan(
            files,
            quantization=quantization,
            device=request.device,
            context_length=request.context_length,
            scaling=request.rope,
            free=free,
        ).estimate
        found.append(LoadWay(quantization=quantization, total=estimate.total, fits=estimate.fits))
    return tuple(found)


def list_models(request: ListModelsRequest) -> ModelsListed:
    """List the built-in model, those of the Hugging Face cache, and those in the named folders."""
    entries: dict[str, ModelEntry] = {}
    for source, name, origin in (*_builtin(), *_cached(), *_in_folders(request.folders)):
        entries.setdefault(source, _entry(source, name, origin))
    return ModelsListed(run_id=request.run_id, entries=tuple(entries.values()))


def _entry(source: str, name: str, origin: str) -> ModelEntry:
    """A row of the picker; what is wrong with the model is said there instead of raised."""
    try:
        files = find_model(source)
    except InferenceError as error:
        return ModelEntry(source=source, name=name, origin=origin, size=0, problem=error.message)
    return ModelEntry(
        source=source, name=files.name, origin=origin, size=files.checkpoint.nbytes, problem=_problem(files)
    )


def _refusal(files: ModelFiles) -> InferenceError | None:
    """The error that loading a model whose files are whole would end in, as far as config.json tells."""
    if reference := safety.needed_code(files.config):
        return safety.refuse_custom_code(reference, part="model")
    model_type = str(files.config.get("model_type"))
    if files.gguf is None and not safety.is_known_architecture(model_type):
        return ModelUnsupported(f"The architecture of this model ({model_type}) is not known.")
    return None


def _problem(files: ModelFiles) -> str:
    """Why a model whose files are whole can't be used; "" if it can."""
    if refusal := _refusal(files):
        return refusal.message
    names = files.config.get("architectures")
    if files.gguf is None and isinstance(names, list) and names and not str(names[0]).endswith(_WRITERS):
        return f"A {names[0]} does not write text."
    if not architecture.layer_count(files.text_config):
        return "Its config.json does not say how many layers it has."
    return ""


Found = tuple[str, str, str]  # source, name, origin


def _builtin() -> Iterator[Found]:
    yield BUILTIN, "Built-in model", "builtin"


def _cached() -> Iterator[Found]:
    """Models in the Hugging Face cache; each GGUF file of a repository is a model."""
    from huggingface_hub import constants, scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repos = sorted(scan_cache_dir(constants.HF_HUB_CACHE).repos, key=lambda repo: repo.repo_id.lower())
    except (CacheNotFound, OSError):
        return
    for repo in repos:
        snapshot = model_files.cached_snapshot(repo.repo_id) if repo.repo_type == "model" else None
        if snapshot is None:
            continue
        if (snapshot / "config.json").is_file() and not _holds_only_gguf(snapshot):
            yield repo.repo_id, repo.repo_id, "cache"
        else:
            for file in sorted(snapshot.rglob("*.gguf")):
                yield str(file), f"{repo.repo_id} / {file.stem}", "cache"


def _holds_only_gguf(folder: Path) -> bool:
    return (
        any(folder.glob("*.gguf")) and not any(folder.glob("*.safetensors")) and not any(folder.glob("*.bin"))
    )


def _in_folders(folders: tuple[str, ...]) -> Iterator[Found]:
    """Each folder or GGUF file that is a model, else what lies directly in the folder."""
    for folder in folders:
        path = Path(folder).expanduser()
        if not path.is_dir() or (path / "config.json").is_file():
            yield folder, path.name, "folder"
            continue
        try:
            inside = sorted(path.iterdir())
        except OSError:
            yield folder, path.name, "folder"
            continue
        for child in inside:
            if child.suffix.lower() == ".gguf" or (child / "config.json").is_file():
                yield str(child), child.stem if child.is_file() else child.name, "folder"
