"""A continuous glucose monitor: tissue glucose every five minutes, with the errors of a real one.

Three errors, in the spirit of Breton and Kovatchev, J Diabetes Sci Technol 2008;2:853 and Facchinetti et al.,
IEEE Trans Biomed Eng 2014;61:621: a calibration gain and offset that drift over the day, noise that is
correlated from reading to reading (first order, coefficient 0.7), and rare short noisy spells that the sensor
itself reports as such.
"""

from __future__ import annotations

from ipc_schemas.insulin_pump import CgmReading
from world.chance import bell, stream

LOWEST_MG_DL, HIGHEST_MG_DL = 39.0, 401.0  # "LOW" and "HIGH" of a real display
ERROR_CODE_MG_DL = 38.0
CORRELATION = 0.7
INNOVATION_MG_DL = 2.5
NOISY_FACTOR = 4.0
NOISY_CHANCE = 0.004
NOISY_READINGS_MAX = 3
READINGS_PER_DAY = 288


class Sensor:
    """``fails`` and ``is_noisy_forced`` are there for experiments; a run leaves them alone."""

    def __init__(self, seed: int, patient: int) -> None:
        self._rng = stream("sensor", seed, patient)
        self._gain = 1.0 + 0.025 * bell(self._rng)
        self._gain_end = 1.0 + 0.025 * bell(self._rng)
        self._offset_mg_dl = 1.5 * bell(self._rng)
        self._error_mg_dl = 0.0
        self._noisy_left = 0
        self._readings = 0
        self.fails = False
        self.is_noisy_forced = False

    def read(self, tissue_mg_dl: float, at_min: int) -> CgmReading:
        """The reading at ``at_min``. Each call moves the errors on by one reading."""
        draw, spell = bell(self._rng), self._rng.random()
        if self._noisy_left > 0:
            self._noisy_left -= 1
        elif spell < NOISY_CHANCE:
            self._noisy_left = 1 + int(spell / NOISY_CHANCE * NOISY_READINGS_MAX)
        is_noisy = self._noisy_left > 0 or self.is_noisy_forced
        self._error_mg_dl = CORRELATION * self._error_mg_dl + INNOVATION_MG_DL * draw
        extra = NOISY_FACTOR * INNOVATION_MG_DL * draw if is_noisy else 0.0
        shown = self._calibration() * tissue_mg_dl + self._offset_mg_dl + self._error_mg_dl + extra
        if self.fails:
            return CgmReading(measured_at_min=at_min, glucose_mg_dl=ERROR_CODE_MG_DL, noise=4)
        shown = LOWEST_MG_DL if shown < LOWEST_MG_DL else HIGHEST_MG_DL if shown > HIGHEST_MG_DL else shown
        return CgmReading(
            measured_at_min=at_min, glucose_mg_dl=float(int(shown + 0.5)), noise=3 if is_noisy else 1
        )

    def _calibration(self) -> float:
        """The gain wanders to a new value over each day."""
        part = (self._readings % READINGS_PER_DAY) / READINGS_PER_DAY
        if self._readings and part == 0.0:
            self._gain, self._gain_end = self._gain_end, 1.0 + 0.025 * bell(self._rng)
        self._readings += 1
        return self._gain + (self._gain_end - self._gain) * part
