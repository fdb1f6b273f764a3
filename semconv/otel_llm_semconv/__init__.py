"""The names of attributes, declared once in semconv/model. Imports nothing."""
