"""Attribution: what in the context carried the target.

A *passage* (:mod:`.passage`) is what the model read and the target that followed. It is cut into *segments*
(:mod:`.segments`); an *objective* (:mod:`.targets`) gives one value a target token. A *method* is one file
that declares a ``SPEC`` and scores each segment for each row of the objective (:mod:`.methods` lists
them); positive = the segment supports the target. All methods see the same passage, segments and
objective, so their scores can be compared (:mod:`.comparison`).
"""
