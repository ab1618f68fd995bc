"""What every page does: choose the settings of its profile, and cite the record of a figure."""

from mlcpc.experiments import base
from mlcpc.records import Record


def choose(profile: str, **settings: dict) -> dict:
    """Settings of a profile.

    Raises:
        ValueError: a profile that the notebook does not have; the message lists those it has.
    """
    if profile not in settings:
        raise ValueError(f"profile is {profile!r}; valid: {', '.join(settings)}")
    return settings[profile]


def cite(record: Record) -> None:
    """Show, under a figure, which record it was drawn from, with a link to the record's page."""
    from IPython.display import publish_display_data

    state = base.state(record)
    state = "" if state in ("current", "of a script") else f"; {state}"
    seeds = "1 seed" if len(record.seeds) == 1 else f"{len(record.seeds)} seeds"
    text = (
        f"Record {record.name}: profile {record.profile}, {seeds}, "
        f"{record.provenance['wall_seconds'] / 60:.0f} min of work on "
        f"{record.provenance['device']}{state}."
    )
    html = text.replace(
        record.name, f'<a href="../generated/records/{record.name}.html">{record.name}</a>', 1
    )
    publish_display_data(
        {"text/plain": text, "text/html": f'<p class="record">{html}</p>'},
        {"mlcpc_record": record.name},
    )
