"""Reading and writing NWB; never imports torch.

`types` is loaded with the package, the other modules when they are first used.
"""
