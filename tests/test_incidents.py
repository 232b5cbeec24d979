"""The shipped re-creation of a public incident: its post-mortem holds what the public one says."""

from __future__ import annotations

from simlab.replay import load_replay, run_replay
from simlab.report.post_mortem import render_post_mortem


def test_the_shipped_incident_is_found_at_once_and_its_page_is_whole() -> None:
    result = run_replay(load_replay("incidents/cloudflare-2019-07-02", policies="recordings/traffic-policies"))
    found = {policy.policy: policy for policy in result.policies}
    # Onset 13:42; the condition must hold for one more minute (two looks) and for five (six looks).
    assert found["below-90-for-1m"].alarms == ("2019-07-02T13:44:00Z",)
    assert found["below-half-for-5m"].alarms == ("2019-07-02T13:48:00Z",)
    for policy in found.values():
        assert policy.estimates["false_alarms_per_week"].n == 0
        assert policy.blast is not None
        # 27 minutes without 81 % of the traffic; noise of 1 % a minute, so 4 standard errors are 4 sqrt(27) = 21.
        assert abs(policy.blast.harmed - 27 * 81) < 21
    two = found["below-90-for-1m"].blast
    assert two is not None
    assert abs(two.spared - 25 * 81) < 20
    page = render_post_mortem(result)
    for text in ("Contributing factors", "without a canary", "Remedies", "alarm of the time", "contained", "re-created"):
        assert text in page, text
