"""One function per attack, ``run(foothold, parameters) -> Report``.

Every function bounds itself in count, bytes and time, so that a wall that is missing costs the experiment and
not the machine, and touches no process outside the run. A report says what the attacker itself saw. It
informs; whether the attack succeeded is for ``faults.detectors`` to say, which look at the effect.
"""
