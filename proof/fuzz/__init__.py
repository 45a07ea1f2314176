"""Random and broken calls, for as long as they are given: none may crash, leak or be answered wrongly."""
