"""Result files damaged in every way that one can think of, each read in a limited process of its own."""
