"""Everything outside the device: patient, sensor, pump hardware, handset, clinic.

The world may break and is never believed; no trusted room imports it. It is deterministic: what it does is a
function of its seed, the patient's index and what the device sends it.

- ``patient``  the glucose-insulin model of one patient
- ``cohort``   seeded patients, and the prescription settings tuned for each
- ``sensor``   continuous glucose monitor with its errors
- ``pump``     pump hardware: delivery, delivery log, watchdog
- ``meals``    what the patient eats, announces and walks, and what the clinician asks for
- ``insulin``  all of these joined to the ports of the reference device
- ``truth``    what really happened to the patient, for grading; no port carries it
"""
