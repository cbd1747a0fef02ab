"""What the Why tab asks for, as the engine takes it."""

from __future__ import annotations

from app.controllers.context import ReadContext
from inference.events import ExplainRequest, MethodSpec, SamplingControls, Setting
from inference.running import new_run_id
from views.models.explaining import ExplainOptions, ExplainTarget, parameters_of


def explain_request(
    target: ExplainTarget,
    options: ExplainOptions,
    spec: MethodSpec,
    context: ReadContext,
    controls: SamplingControls,
    *,
    preview: bool = False,
    estimate_only: bool = False,
) -> ExplainRequest:
    """A request with the method's settings, and what of the attention and the steering acts there.

    Args:
        target: What is to be explained.
        options: How.
        spec: The chosen method.
        context: What the model had read.
        controls: What acts on replies now.
        preview: Send scores while they are computed.
        estimate_only: Ask only what it would take.
    """
    values: dict[str, Setting] = {
        parameter.name: options.setting(spec.name, parameter) for parameter in parameters_of(spec)
    }
    typed = target.message_id is None
    return ExplainRequest(
        run_id=new_run_id(),
        method=spec.name,
        messages=context.turns,
        prompt=context.prompt,
        reply_ids=context.reply_ids,
        reply_text=context.reply_text,
        target=target.text if typed else None,
        target_start=target.start,
        target_end=None if typed else target.end,
        granularity=options.granularity,
        target_granularity="token" if options.per_token else "complete",
        include_special=options.include_special,
        layers=options.layers if spec.uses_factor else None,
        factor=float(values.get("factor", 0.1)),
        mode="multiplicative" if values.get("mode") == "multiplicative" else "log-additive",
        similarity_threshold=float(values["similarity_threshold"]) if values.get("related") else None,
        contrast_id=target.contrast.id if target.contrast is not None else None,
        settings=tuple((parameter.name, values[parameter.name]) for parameter in spec.parameters),
        attention=context.attention(controls.attention),
        steering=controls.steering,
        preview=preview,
        estimate_only=estimate_only,
    )
