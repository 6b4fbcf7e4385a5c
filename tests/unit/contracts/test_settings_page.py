"""The reference page says what the tables say."""

from tests.settings_page import PAGE, page


def test_the_page_is_fresh() -> None:
    assert PAGE.read_text() == page(), "write it anew: python -m tests.settings_page"
