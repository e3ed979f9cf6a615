"""Pure builders: custom resources in, the objects that run them out."""
