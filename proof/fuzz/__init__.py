"""Random and broken calls: none may crash, leak, or be answered wrongly."""
