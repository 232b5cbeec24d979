"""The commands, by what they are about. Heavy modules are imported by those that need them."""
