/* What JOURNAL_MAX_MB means for those who take commands, and for those who read the log. */
#include "agent/journal_inside.h"

#include "base/clock.h"
#include "base/log.h"

enum { SAY_FULL_MS = 60000 };

/* A small journal is full again and again: that is said once a minute; here or when it is looked
 * next. */
static void say_full(struct journal *journal)
{
	int64_t now_ms = clock_monotonic_ms();
	if (now_ms < journal->say_full_from_ms)
		return;
	journal->say_full_from_ms = now_ms + SAY_FULL_MS;
	journal->is_full_logged = true;
	log_warn("the journal holds %llu bytes, JOURNAL_MAX_MB is %lld: no new command is taken "
		 "until answers that wait are posted",
		 (unsigned long long)journal->store.used_bytes,
		 (long long)journal->settings->journal_max_mb);
}

static void say_room(struct journal *journal)
{
	log_info("the journal has room again: commands are taken");
	journal->is_full_logged = false;
}

static void say_forgetting(struct journal *journal)
{
	log_warn("JOURNAL_MAX_MB (%lld) is too small for what ended within DEDUPE_HOURS "
		 "(%lld): the oldest commands are forgotten before that",
		 (long long)journal->settings->journal_max_mb,
		 (long long)journal->settings->dedupe_hours);
	journal->is_forgetting_said = true;
}

void journal_say_room(struct journal *journal)
{
	const struct journal_store *store = &journal->store;
	journal->is_full = store->is_full;
	if (store->forgets_early && !journal->is_forgetting_said)
		say_forgetting(journal);
	if (store->is_full && !journal->is_full_logged)
		say_full(journal);
	else if (!store->is_full && journal->is_full_logged)
		say_room(journal);
}
