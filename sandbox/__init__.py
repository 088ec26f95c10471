"""The walls: one file per mechanism of the operating system, and one place that creates a confined process.

- ``walls``       the names of all walls, what each one is for, and what it needs
- ``linux``       the few system calls that Python does not offer
- ``namespaces``  user, pid, mount, net, ipc, uts and cgroup namespaces
- ``rootfs``      an empty read-only root with only what the process needs
- ``identity``    user and group, capabilities, no_new_privs, session, dumpable, descriptors
- ``limits``      rlimits
- ``cgroups``     memory, process and CPU limits by control group, versions 1 and 2
- ``landlock``    Landlock rules
- ``syscalls``    the seccomp filters, first for the launch, then sealed
- ``launcher``    the template process that forks confined processes, and its client
- ``stub``        what a confined process does between fork and the first line of its own code
- ``passport``    what this host can enforce, probed
- ``trials``      the forked children that try each wall for the passport; ``trials_alone``, ``trials_spaces``
- ``host``        the host's settings: why a wall does not stand, and the remedy
- ``inventory``   the live process compared with what was declared
"""
