"""The power button: ``python run_device.py`` runs the main job, ``python run_device.py --help`` tells the rest."""

import sys

from console.app import main

if __name__ == "__main__":
    sys.exit(main())
