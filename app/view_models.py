"""The models that the window shows, made once and handed to views and controllers."""

from __future__ import annotations

from dataclasses import dataclass

from app.settings import Remembered
from views.models.adapters import AdaptersModel
from views.models.answers import AnswersModel
from views.models.attachments import AttachmentsModel
from views.models.candidates import CandidatesModel, StepModel
from views.models.chat_template import ChatTemplateModel
from views.models.controls import ControlsModel
from views.models.conversations import ConversationsModel
from views.models.experts import ExpertsModel
from views.models.explaining import ExplanationModel
from views.models.faults import FaultsModel
from views.models.focus import FocusModel
from views.models.healing import HealingModel
from views.models.library import LibraryModel
from views.models.looking import AttentionModel, LensModel
from views.models.model_choice import ModelChoiceModel
from views.models.monitor import MonitorModel
from views.models.page import PageModel
from views.models.runs import RunsModel
from views.models.servers import ServersModel
from views.models.settings import SettingsModel
from views.models.side_by_side import SideBySideModel
from views.models.sources import SourcesModel
from views.models.steering import SteeringModel
from views.models.transcript import TranscriptModel
from views.models.two_prompts import TwoPromptsModel


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewModels:
    """Everything that panels share; panels know each other through nothing else."""

    transcript: TranscriptModel
    focus: FocusModel
    conversations: ConversationsModel
    controls: ControlsModel
    candidates: CandidatesModel
    step: StepModel
    models: ModelChoiceModel
    monitor: MonitorModel
    runs: RunsModel
    faults: FaultsModel
    settings: SettingsModel
    servers: ServersModel
    library: LibraryModel
    answers: AnswersModel
    sources: SourcesModel
    page: PageModel
    explanation: ExplanationModel
    steering: SteeringModel
    side_by_side: SideBySideModel
    lens: LensModel
    attention: AttentionModel
    experts: ExpertsModel
    adapters: AdaptersModel
    template: ChatTemplateModel
    healing: HealingModel
    attachments: AttachmentsModel
    two_prompts: TwoPromptsModel

    @classmethod
    def make(cls, remembered: Remembered, faults: FaultsModel) -> ViewModels:
        """Fresh models with what is remembered from last time."""
        transcript, focus = TranscriptModel(), FocusModel()
        return cls(
            transcript=transcript,
            focus=focus,
            conversations=ConversationsModel(),
            controls=ControlsModel(remembered.controls, presets=remembered.presets),
            candidates=CandidatesModel(transcript, focus),
            step=StepModel(transcript, focus),
            models=ModelChoiceModel(),
            monitor=MonitorModel(),
            runs=RunsModel(),
            faults=faults,
            settings=SettingsModel(remembered.page),
            servers=ServersModel(),
            library=LibraryModel(),
            attachments=AttachmentsModel(),
            answers=AnswersModel(),
            sources=SourcesModel(),
            page=PageModel(),
            explanation=ExplanationModel(),
            steering=SteeringModel(),
            side_by_side=SideBySideModel(),
            lens=LensModel(),
            attention=AttentionModel(),
            experts=ExpertsModel(),
            adapters=AdaptersModel(),
            template=ChatTemplateModel(),
            healing=HealingModel(on=remembered.page.token_healing),
            two_prompts=TwoPromptsModel(),
        )
