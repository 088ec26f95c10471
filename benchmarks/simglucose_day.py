"""One day of simglucose, timed without its imports. Run by the interpreter of an environment that has it.

The scenario is simglucose's own example: adolescent#001, a Dexcom sensor, an Insulet pump, its basal-bolus
controller and a random meal scenario, seeded.
"""

from __future__ import annotations

import importlib
import sys
import time
from datetime import datetime, timedelta

START = datetime(2018, 1, 1)  # noqa: DTZ001 - simglucose knows naive times only


def main() -> None:
    """Print patient-days per second."""

    def of(module: str, name: str) -> object:
        return getattr(importlib.import_module(f"simglucose.{module}"), name)

    patient = of("patient.t1dpatient", "T1DPatient").withName("adolescent#001")  # type: ignore[attr-defined]
    sensor = of("sensor.cgm", "CGMSensor").withName("Dexcom", seed=1)  # type: ignore[attr-defined]
    pump = of("actuator.pump", "InsulinPump").withName("Insulet")  # type: ignore[attr-defined]
    scenario = of("simulation.scenario_gen", "RandomScenario")(start_time=START, seed=1)  # type: ignore[operator]
    environment = of("simulation.env", "T1DSimEnv")(patient, sensor, pump, scenario)  # type: ignore[operator]
    controller = of("controller.basal_bolus_ctrller", "BBController")()  # type: ignore[operator]
    simulation_of = of("simulation.sim_engine", "SimObj")
    simulation = simulation_of(environment, controller, timedelta(days=1), animate=False)  # type: ignore[operator]
    started_s = time.perf_counter()
    simulation.simulate()
    sys.stdout.write(f"\n{1 / (time.perf_counter() - started_s)}\n")


if __name__ == "__main__":
    main()
