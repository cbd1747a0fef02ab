"""Adapters (LoRA, as peft stores them): put on a loaded model, switched and scaled while it writes."""
