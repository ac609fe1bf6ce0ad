"""The paper's tables and figures, each as a list of cells: one model, one session or one group of them, one seed.

Data flow one way: `tasks` (which sessions) and `studies` (which models, `models`) → `cells` (what one training gives, a
file each, run by `jobs`) → `results` (means over sessions, tests) → `layout` (tables) and `figures`. `run` joins them.
"""
