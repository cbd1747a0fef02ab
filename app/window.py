"""The widgets of the window, made and put into one another; nothing is connected here."""

from __future__ import annotations

from dataclasses import dataclass

from app.view_models import ViewModels
from views.about_view import AboutView
from views.adapter_compare_view import AdapterCompareView
from views.chat_panel import ChatPanel
from views.chat_template_view import ChatTemplateView
from views.compare_view import CompareView
from views.conversation_list import ConversationList
from views.crash_view import CrashView
from views.document_intents import DocumentIntents
from views.documents_panel import DocumentsPanel
from views.faults_view import FaultsBar, FaultsView
from views.header_bar import HeaderBar
from views.inspector import Inspector
from views.intents import ChatIntents
from views.lens_panel import LensPanel
from views.main_window import MainWindow
from views.model_picker import ModelPicker
from views.monitor_panel import MonitorPanel
from views.offer_bar import OfferBar
from views.sampling_panel import SamplingPanel
from views.server_sheet import ServerSheet
from views.settings_view import SettingsView
from views.shortcuts_view import ShortcutsView
from views.status_line import StatusLine
from views.steering_panel import SteeringPanel
from views.theme import Theme
from views.token_panel import TokenPanel
from views.two_prompts_panel import TwoPromptsPanel
from views.why_panel import WhyPanel


@dataclass(frozen=True, slots=True, kw_only=True)
class Widgets:
    """The widgets that controllers are connected to."""

    window: MainWindow
    intents: ChatIntents
    header: HeaderBar
    chat: ChatPanel
    conversations: ConversationList
    inspector: Inspector
    sampling: SamplingPanel
    token: TokenPanel
    why: WhyPanel
    lens: LensPanel
    steering: SteeringPanel
    compare: CompareView
    adapters: AdapterCompareView
    monitor: MonitorPanel
    status: StatusLine
    picker: ModelPicker
    server: ServerSheet
    settings: SettingsView
    shortcuts: ShortcutsView
    about: AboutView
    template: ChatTemplateView
    faults_bar: FaultsBar
    faults: FaultsView
    crash_bar: OfferBar
    crash: CrashView
    newer_bar: OfferBar
    documents: DocumentsPanel
    two_prompts: TwoPromptsPanel
    document_intents: DocumentIntents


def make_widgets(models: ViewModels, theme: Theme) -> Widgets:
    """Make the whole window, not shown yet."""
    intents = ChatIntents()
    header = HeaderBar(theme)
    chat = ChatPanel(
        models.transcript,
        models.focus,
        intents,
        theme,
        healing=models.healing,
        attachments=models.attachments,
    )
    conversations = ConversationList(models.conversations, theme)
    inspector = Inspector(theme)
    sampling = SamplingPanel(models.controls, models.step, models.settings, theme)
    inspector.add_panel("sampling", "Sampling", sampling)
    token = TokenPanel(models.candidates, models.transcript, models.focus, theme)
    inspector.add_panel("token", "Token", token)
    why = WhyPanel(models.explanation, theme)
    inspector.add_panel("why", "Why", why)
    lens = LensPanel(models.lens, models.attention, theme, experts=models.experts)
    inspector.add_panel("lens", "Lens", lens)
    steering = SteeringPanel(models.steering, models.controls, theme, adapters=models.adapters)
    inspector.add_panel("steer", "Steer", steering)
    monitor = MonitorPanel(models.monitor, models.runs, theme)
    status = StatusLine(theme)
    window = MainWindow(
        header=header,
        conversations=conversations,
        chat=chat,
        inspector=inspector,
        monitor=monitor,
        status=status,
        intents=intents,
        theme=theme,
    )
    document_intents = DocumentIntents()
    documents = DocumentsPanel(
        models.library, models.answers, models.sources, models.page, document_intents, theme
    )
    window.add_mode("documents", "Documents", documents, whole=True)
    two_prompts = TwoPromptsPanel(models.two_prompts, theme)
    window.add_mode("compare", "Compare", two_prompts, whole=True)
    faults_bar = FaultsBar(models.faults, theme)
    crash_bar, newer_bar = OfferBar("crashBar", theme), OfferBar("newerBar", theme)
    for banner in (newer_bar, crash_bar, faults_bar):
        window.add_banner(banner)
    return Widgets(
        window=window,
        intents=intents,
        header=header,
        chat=chat,
        conversations=conversations,
        inspector=inspector,
        sampling=sampling,
        token=token,
        why=why,
        lens=lens,
        steering=steering,
        compare=CompareView(models.side_by_side, theme, window),
        adapters=AdapterCompareView(models.adapters, theme, window),
        monitor=monitor,
        status=status,
        picker=ModelPicker(models.models, theme, window),
        server=ServerSheet(models.servers, theme, window),
        settings=SettingsView(models.settings, theme, window),
        shortcuts=ShortcutsView(window.actions(), theme, window),
        about=AboutView(theme, window),
        template=ChatTemplateView(models.template, theme, window),
        faults_bar=faults_bar,
        faults=FaultsView(models.faults, theme, window),
        crash_bar=crash_bar,
        crash=CrashView(theme, window),
        newer_bar=newer_bar,
        documents=documents,
        two_prompts=two_prompts,
        document_intents=document_intents,
    )
