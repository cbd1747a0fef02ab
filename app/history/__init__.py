"""Conversations on disk: a tree of messages each, with the token records that the token view needs."""

from app.history.records import Conversation, Ending, Found, Reply, StoredMessage
from app.history.store import History

__all__ = ["Conversation", "Ending", "Found", "History", "Reply", "StoredMessage"]
