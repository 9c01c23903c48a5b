"""The newsletter of the studio: five hundred mails, a mail server in a mood, and dead letters."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from support.studio import Studio

_WATCH_COUNTS = """
window.most = { sent: 0, retrying: 0, failed: 0 };
window.seen = new Set();
new MutationObserver(() => {
  for (const name in most) most[name] = Math.max(most[name], Number(document.getElementById(name).textContent));
  seen.add(sent.textContent);
}).observe(document.querySelector(".counts"), { subtree: true, childList: true });
"""


def test_all_get_their_mail_in_the_end(page: Page, studio: Studio) -> None:
    page.evaluate(_WATCH_COUNTS)
    for _ in range(2):
        page.click("#start")
    expect(page.locator("#workers li")).to_have_count(3)
    page.click("#send")
    retry = page.locator("#retry")
    expect(retry).to_be_visible(timeout=60_000)
    failed = int(page.inner_text("#failed"))
    assert int(page.inner_text("#sent")) + failed == 500
    assert failed > 0
    assert page.evaluate("most.retrying") > 0
    assert page.evaluate("seen.size") > 5, "the count of sent mails did not move"
    expect(page.locator("#queues tr", has_text="mails").locator("td").last).to_have_text(str(failed))
    retry.click()
    expect(page.locator("#sent")).to_have_text("500")
    expect(page.locator("#failed")).to_have_text("0")
    expect(retry).to_be_hidden()
    expect(page.locator("#queues tr", has_text="mails").locator("td").last).to_have_text("0")
