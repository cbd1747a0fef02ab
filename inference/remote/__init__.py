"""Models on a server that speaks the OpenAI-compatible API. Nothing in here connects unless the user named a
server.
"""
