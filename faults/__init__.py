"""What goes wrong, on purpose: attacks, the implant that runs them, and detectors of their effect.

- ``attack``        what one attack file offers
- ``attacks``       one file an attack: injector, detector, sentence, ranges of its parameters
- ``attack_files``  finds them, a design's own included
- ``catalogue``     the catalogue's rows as frozen values, and the schedules made of them
- ``implant``       code that goes into the image of a taken-over partition and runs with its rights
- ``image``         puts benign image, implant, attacks and schedule together
- ``means``         what only the harness knows and an attack needs
- ``collector``     the attacker's server on loopback
- ``watcher``       what the host can see of the run's processes
- ``seen``          what the harness saw of a run, and the questions that detectors ask of it
- ``effects``       detectors that several attacks share
- ``detectors``     whether an attack had its *effect*; error codes do not count
- ``experiment``    one run, attacked or not, with all that the harness saw of it
"""
