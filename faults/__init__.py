"""What goes wrong, on purpose: attacks, the implant that runs them, and detectors of their effect.

- ``catalogue``     the attacks as frozen values, the day's default schedule
- ``implant``       code that goes into the image of a compromised transfer partition and runs with its rights
- ``attacks``       one function per attack, part of the same image
- ``image``         puts benign image, implant and schedule together
- ``collector``     the attacker's server on loopback
- ``watcher``       what the host can see of the run's processes
- ``observations``  what the harness saw of a run
- ``detectors``     whether an attack had its *effect*; error codes do not count
- ``experiment``    one run, attacked or not, with all that the harness saw of it
"""
