"""Chains of hierarchical pre-training, Base → (Source →) Target, from one config and lists (Reed et al. 2022, HPT).

A chain is written as in the paper, its letters the data on which it is trained one after another:

===========  ==========================================================================================================
``B``        the base as it is; of the target it gets the running statistics of its BN, estimated anew
``T``        trained on the target from random initialisation
``B+T``      trained on the target, beginning with the base (HPT)
``B+S``      the same on a source
``B+S+T``    trained on the target, beginning with B+S
``…-BN``     behind a letter: in this step BN alone is trained. ``B+T-BN`` is HPT-BN; in ``B+S+T-BN`` the source is
             trained whole and the target by its BN, so that B+S is the same step as without; ``B+S-BN+T-BN`` has both
===========  ==========================================================================================================

A step is a chain or the beginning of one, for a number of iterations, which all trainings in it have: B+S+T of 500 is
500 on the source, then 500 on the target. A source may have its own: ``B+S+T_50000+5000`` is 50,000 on the source and
5,000 on the target. Chains share the steps with which they begin. Each step is a run of ``tools/train.py`` in a folder
of its own, over a config that is written there, and is finished when its backbone is.

What a name says is in :mod:`.names`, how long a step is in :mod:`.lengths`, its data in :mod:`.images`. A step and the
backbones that it leaves are in :mod:`.steps`, the folder of all steps, from plan to table, in :mod:`.folder`. What
makes a base ``B`` is in :mod:`.base`.
"""
