"""About how long the test files take, so that the longest start first."""

from __future__ import annotations

HEAVY = {
    "cluster/test_slurm.py": 650,
    "unit/miniature/test_parts.py": 300,  # takes 110 s, and needs no miniature while another worker makes it
    "cluster/test_generic.py": 270,
    "loopback/test_workflow.py": 195,
    "loopback/test_keyless.py": 160,
    "e2e/test_people.py": 150,
    "e2e/test_merging.py": 130,
    "e2e/test_south.py": 120,
    "e2e/test_reruns.py": 120,
    "e2e/test_released_samples.py": 115,
    "e2e/test_released_modes.py": 107,
    "e2e/test_benchmark_deep.py": 101,
    "e2e/test_benchmark.py": 100,
    "rules/test_plan.py": 100,
    "loopback/test_archives.py": 100,
    "e2e/test_map.py": 90,
    "e2e/test_defects.py": 90,
    "e2e/test_released_masks_run.py": 80,
    "e2e/test_browser_matrix.py": 20,
    "e2e/test_browser_views.py": 30,
    "e2e/test_browser_restart.py": 20,
    "e2e/test_browser_figures.py": 80,
    "e2e/test_browser_labelling.py": 70,
    "e2e/test_browser_load.py": 70,
    "faults/test_browser_journal.py": 70,
    "e2e/test_mistakes.py": 80,
    "faults/test_kills.py": 80,
    "faults/test_full_disks.py": 80,
    "faults/test_broken_files.py": 80,
    "unit/miniature/test_world.py": 80,
    "e2e/test_map_of_a_model.py": 70,
    "e2e/test_change.py": 60,
    "e2e/test_prevalence_by_sample.py": 60,
    "e2e/test_huggingface.py": 60,
    "loopback/test_refusals.py": 60,
    "qgis/test_qgis.py": 60,
    "real/test_orfeo_backends.py": 60,
}
"""Seconds of the heavy tests of a file on two cores with another worker beside them."""

QUICK = {
    "golden/test_golden.py": 110,  # with the miniature, for which other files that need it would wait
    "unit/doctor/test_measured.py": 16,
    "rules/test_plan.py": 14,
    "unit/core/test_lost_products.py": 14,
    "unit/annotation/test_working_copies.py": 13,
    "unit/annotation/test_checkin.py": 13,
    "unit/dataset/test_verify.py": 13,
    "loopback/test_publishing.py": 12,
    "unit/dataset/test_merge.py": 10,
    "unit/core/test_rerun.py": 8,
    "unit/annotation/test_released_masks.py": 7,
    "unit/map/test_change_estimate.py": 6,
    "unit/annotation/test_change_sample.py": 6,
    "unit/doctor/test_doctor.py": 6,
    "unit/doctor/test_damage.py": 5,
    "unit/dataset/test_documents.py": 5,
    "unit/map/test_mosaics.py": 4,
    "unit/map/test_map_for_people.py": 4,
    "unit/annotation/test_checkin_fuzz.py": 3,
    "e2e/test_reruns.py": 2.5,  # takes 16 s, when the miniature is made
    "e2e/test_products.py": 2.4,  # takes 6 s
}
"""Seconds of the other tests of a file."""

OF_A_HEAVY_TEST, OF_A_QUICK_TEST = 10, 0.05
"""Seconds of a test of a file that is not listed."""


def seconds(name: str, quick: int, heavy: int) -> float:
    """Return about how long a file takes.

    Args:
        name: of the file, relative to `tests/`.
        quick: number of its tests that run and are not heavy.
        heavy: number of its heavy tests that run.
    """
    of_heavy = HEAVY.get(name, heavy * OF_A_HEAVY_TEST) if heavy else 0
    return of_heavy + (QUICK.get(name, quick * OF_A_QUICK_TEST) if quick else 0)
