"""One patient: the glucose-insulin model of Hovorka et al., Physiol. Meas. 2004;25:905.

Eleven states, integrated by the classical fourth-order Runge-Kutta method at one minute. Only + - * / and
comparisons are used, so a run does not depend on the host's mathematics library.

    Q1' = -(F01c + FR) - x1 Q1 + k12 Q2 + D2/tG + EGP0 max(0, 1 - x3)     Q2' = x1 Q1 - (k12 + x2) Q2
    S1' = u - S1/tI      S2' = (S1 - S2)/tI      I' = S2/(VI tI) - ke I    xi' = SIi kai I - kai xi
    D1' = AG d - D1/tG   D2' = (D1 - D2)/tG      G = Q1/VG                 IG' = (G - IG)/15
    F01c = F01 min(1, G/4.5)                     FR = 0.003 (G - 9) VG if G >= 9 else 0

Units inside: mmol, mU, minutes, litres. The model has no counter-regulation and no ketones: a glucose below
40 mg/dL says "far too low" and nothing finer. Walking does not change it.
"""

from __future__ import annotations

from typing import NamedTuple

MG_DL_PER_MMOL_L = 18.016
MMOL_PER_G_CARBS = 1000.0 / 180.16
MU_PER_U = 1000.0
SENSOR_LAG_MIN = 15.0


class PatientParameters(NamedTuple):
    """The model's constants, in the paper's units; those per kg there are per kg here."""

    weight_kg: float
    egp0_mmol_per_kg_min: float = 0.0161
    f01_mmol_per_kg_min: float = 0.0097
    k12_per_min: float = 0.066
    ka1_per_min: float = 0.006
    ka2_per_min: float = 0.06
    ka3_per_min: float = 0.03
    si1_per_min_per_mu_l: float = 51.2e-4
    si2_per_min_per_mu_l: float = 8.2e-4
    si3_per_mu_l: float = 520e-4
    ke_per_min: float = 0.138
    vi_l_per_kg: float = 0.12
    vg_l_per_kg: float = 0.16
    ti_min: float = 55.0
    tg_min: float = 40.0
    ag: float = 0.8


class PatientState(NamedTuple):
    """Masses in mmol (glucose) and mU (insulin); plasma insulin in mU/L; glucose in tissue in mmol/L."""

    s1_mu: float
    s2_mu: float
    i_mu_l: float
    x1: float
    x2: float
    x3: float
    d1_mmol: float
    d2_mmol: float
    q1_mmol: float
    q2_mmol: float
    ig_mmol_l: float


def steady_state(p: PatientParameters, insulin_mu_l: float) -> tuple[PatientState, float]:
    """The fasting state that a constant plasma insulin holds, and the insulin rate (mU/min) that keeps it.

    Solves the model with all derivatives zero; glucose is found by bisection. Raises ``ValueError`` when the
    patient has no steady glucose between 1 and 30 mmol/L at this insulin.
    """
    low, high = 1.0, 30.0
    if _fasting_balance(p, insulin_mu_l, low) < 0.0 or _fasting_balance(p, insulin_mu_l, high) > 0.0:
        raise ValueError(f"no steady glucose between 1 and 30 mmol/L at {insulin_mu_l} mU/L")
    for _ in range(60):
        middle = 0.5 * (low + high)
        if _fasting_balance(p, insulin_mu_l, middle) > 0.0:
            low = middle
        else:
            high = middle
    return _state_at(
        p, insulin_mu_l, 0.5 * (low + high)
    ), insulin_mu_l * p.ke_per_min * p.vi_l_per_kg * p.weight_kg


def insulin_holding(p: PatientParameters, glucose_mmol_l: float) -> float:
    """The constant plasma insulin (mU/L) at which a fasting patient stays at this glucose, by bisection."""
    low, high = 0.0, 200.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        if _fasting_balance(p, middle, glucose_mmol_l) > 0.0:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def _fasting_balance(p: PatientParameters, insulin_mu_l: float, glucose_mmol_l: float) -> float:
    """dQ1/dt in mmol/min with all other states at rest: falls as glucose or insulin rises."""
    x1 = p.si1_per_min_per_mu_l * insulin_mu_l
    x2 = p.si2_per_min_per_mu_l * insulin_mu_l
    x3 = p.si3_per_mu_l * insulin_mu_l
    q1 = glucose_mmol_l * p.vg_l_per_kg * p.weight_kg
    q2 = x1 * q1 / (p.k12_per_min + x2)
    use = p.f01_mmol_per_kg_min * p.weight_kg
    if glucose_mmol_l < 4.5:
        use = use * glucose_mmol_l / 4.5
    if glucose_mmol_l >= 9.0:
        use += 0.003 * (glucose_mmol_l - 9.0) * p.vg_l_per_kg * p.weight_kg
    made = p.egp0_mmol_per_kg_min * p.weight_kg * (1.0 - x3) if x3 < 1.0 else 0.0
    return made - use - x1 * q1 + p.k12_per_min * q2


def _state_at(p: PatientParameters, insulin_mu_l: float, glucose_mmol_l: float) -> PatientState:
    x1 = p.si1_per_min_per_mu_l * insulin_mu_l
    x2 = p.si2_per_min_per_mu_l * insulin_mu_l
    q1 = glucose_mmol_l * p.vg_l_per_kg * p.weight_kg
    depot = insulin_mu_l * p.ke_per_min * p.vi_l_per_kg * p.weight_kg * p.ti_min
    return PatientState(
        s1_mu=depot,
        s2_mu=depot,
        i_mu_l=insulin_mu_l,
        x1=x1,
        x2=x2,
        x3=p.si3_per_mu_l * insulin_mu_l,
        d1_mmol=0.0,
        d2_mmol=0.0,
        q1_mmol=q1,
        q2_mmol=x1 * q1 / (p.k12_per_min + x2),
        ig_mmol_l=glucose_mmol_l,
    )


def _lag(
    y: float, k: float, f1: float, f2: float, f3: float, f4: float, h: float
) -> tuple[float, float, float, float]:
    """Runge-Kutta for y' = f - k y with the input's four stage values: y's stages 2 to 4, and y after ``h``.

    Nine of the eleven states are such lags in a row, so each hands its stage values on to the next; that is
    the same arithmetic as integrating the whole system at once, and half the work.
    """
    half = 0.5 * h
    a = f1 - k * y
    y2 = y + half * a
    b = f2 - k * y2
    y3 = y + half * b
    c = f3 - k * y3
    y4 = y + h * c
    return y2, y3, y4, y + h / 6.0 * (a + b + b + c + c + f4 - k * y4)


class Patient:
    """A patient whose state moves on minute by minute."""

    def __init__(self, parameters: PatientParameters, state: PatientState) -> None:
        self.parameters = parameters
        self.state = state
        p, weight = parameters, parameters.weight_kg
        self._ri, self._rg, self._rs = 1.0 / p.ti_min, 1.0 / p.tg_min, 1.0 / SENSOR_LAG_MIN
        self._per_vi = 1.0 / (p.vi_l_per_kg * weight * p.ti_min)
        self._vg = p.vg_l_per_kg * weight
        self._glucose = (
            p.k12_per_min,
            p.f01_mmol_per_kg_min * weight,
            p.egp0_mmol_per_kg_min * weight,
            self._vg,
        )
        self._remote = (
            (p.ka1_per_min, p.si1_per_min_per_mu_l * p.ka1_per_min),
            (p.ka2_per_min, p.si2_per_min_per_mu_l * p.ka2_per_min),
            (p.ka3_per_min, p.si3_per_mu_l * p.ka3_per_min),
        )

    @property
    def glucose_mg_dl(self) -> float:
        """True plasma glucose."""
        return self.state.q1_mmol / self._vg * MG_DL_PER_MMOL_L

    @property
    def tissue_glucose_mg_dl(self) -> float:
        """Interstitial glucose, which a sensor sees."""
        return self.state.ig_mmol_l * MG_DL_PER_MMOL_L

    @property
    def insulin_on_board_u(self) -> float:
        """Insulin under the skin that has yet to reach the blood."""
        return (self.state.s1_mu + self.state.s2_mu) / MU_PER_U

    @property
    def gut_mmol(self) -> float:
        """Glucose in the gut that has yet to reach the blood."""
        return self.state.d1_mmol + self.state.d2_mmol

    def advance(self, insulin_u: float, carbs_g: float, steps: int = 1) -> None:
        """One minute with this much insulin infused and carbohydrate eaten, evenly, in ``steps`` steps."""
        h = 1.0 / steps
        u = insulin_u * MU_PER_U
        d = self.parameters.ag * carbs_g * MMOL_PER_G_CARBS
        for _ in range(steps):
            self.state = self._step(u, d, h)

    def _step(self, u: float, d: float, h: float) -> PatientState:
        s1, s2, i, x1, x2, x3, d1, d2, q1, q2, ig = self.state
        ri, rg, pv = self._ri, self._rg, self._per_vi
        (k1, b1), (k2, b2), (k3, b3) = self._remote
        s1b, s1c, s1d, s1n = _lag(s1, ri, u, u, u, u, h)
        s2b, s2c, s2d, s2n = _lag(s2, ri, ri * s1, ri * s1b, ri * s1c, ri * s1d, h)
        ib, ic, id_, i_n = _lag(i, self.parameters.ke_per_min, pv * s2, pv * s2b, pv * s2c, pv * s2d, h)
        x1b, x1c, x1d, x1n = _lag(x1, k1, b1 * i, b1 * ib, b1 * ic, b1 * id_, h)
        x2b, x2c, x2d, x2n = _lag(x2, k2, b2 * i, b2 * ib, b2 * ic, b2 * id_, h)
        x3b, x3c, x3d, x3n = _lag(x3, k3, b3 * i, b3 * ib, b3 * ic, b3 * id_, h)
        if d > 0.0 or d1 > 0.0 or d2 > 0.0:
            d1b, d1c, d1d, d1n = _lag(d1, rg, d, d, d, d, h)
            d2b, d2c, d2d, d2n = _lag(d2, rg, rg * d1, rg * d1b, rg * d1c, rg * d1d, h)
        else:
            d1n = d2n = d2b = d2c = d2d = 0.0
        half, rates = 0.5 * h, self._glucose_rates
        qa, ra = rates(q1, q2, x1, x2, x3, rg * d2)
        q1b, q2b = q1 + half * qa, q2 + half * ra
        qb, rb = rates(q1b, q2b, x1b, x2b, x3b, rg * d2b)
        q1c, q2c = q1 + half * qb, q2 + half * rb
        qc, rc = rates(q1c, q2c, x1c, x2c, x3c, rg * d2c)
        q1d = q1 + h * qc
        qd, rd = rates(q1d, q2 + h * rc, x1d, x2d, x3d, rg * d2d)
        g = self._rs / self._vg
        ign = _lag(ig, self._rs, g * q1, g * q1b, g * q1c, g * q1d, h)[3]
        sixth = h / 6.0
        return PatientState(
            s1n, s2n, i_n, x1n, x2n, x3n, d1n, d2n,
            q1 + sixth * (qa + qb + qb + qc + qc + qd), q2 + sixth * (ra + rb + rb + rc + rc + rd), ign,
        )  # fmt: skip

    def _glucose_rates(
        self, q1: float, q2: float, x1: float, x2: float, x3: float, gut: float
    ) -> tuple[float, float]:
        """dQ1/dt and dQ2/dt in mmol/min."""
        k12, f01, egp0, vg = self._glucose
        g = q1 / vg
        moved = x1 * q1
        rate = gut - moved + k12 * q2
        rate -= f01 * g / 4.5 if g < 4.5 else f01
        if g >= 9.0:
            rate -= 0.003 * (g - 9.0) * vg
        if x3 < 1.0:
            rate += egp0 * (1.0 - x3)
        return rate, moved - (k12 + x2) * q2
