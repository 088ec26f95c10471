"""One file an attack, called by its id and name: ``c05_valid_flood.py``. Each offers one ``ATTACK``.

Every injector bounds itself in count, bytes and time, so that a wall that is missing costs the experiment and
not the machine, and touches no process outside the run. A report says what the attacker itself saw. It
informs; whether the attack succeeded is for the file's detector to say, which looks at the effect.
"""
