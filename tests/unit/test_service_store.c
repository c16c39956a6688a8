#include "base/clock.h"
#include "base/mem.h"
#include "service/store.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HOUR_MS = 3600 * 1000 };

/* A store in a folder of its own, and what it told its observer. */
struct fixture {
	char folder[64];
	char path[96];
	struct store *store;
	size_t pendings;
	size_t ends;
	int64_t last_end;
};

static void on_pending(void *context, const char *org, const char *target)
{
	struct fixture *fixture = context;
	(void)org;
	(void)target;
	fixture->pendings++;
}

static void on_end(void *context, int64_t seq)
{
	struct fixture *fixture = context;
	fixture->ends++;
	fixture->last_end = seq;
}

static void open_store(struct fixture *fixture)
{
	struct error err;
	struct store_observer observer = {fixture, on_pending, on_end};
	cr_assert_eq(store_open(&fixture->store, fixture->path, STORE_SERVE, &err), 0, "%s",
		     err.message);
	store_observe(fixture->store, &observer);
}

static struct fixture *set_up(void)
{
	struct fixture *fixture = mem_new(struct fixture);
	snprintf(fixture->folder, sizeof fixture->folder, "/tmp/test-store-XXXXXX");
	cr_assert_not_null(mkdtemp(fixture->folder));
	snprintf(fixture->path, sizeof fixture->path, "%s/commands.db", fixture->folder);
	open_store(fixture);
	return fixture;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
	(void)info;
	(void)kind;
	(void)walk;
	return remove(path);
}

static void tear_down(struct fixture *fixture)
{
	store_close(fixture->store);
	nftw(fixture->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(fixture);
}

static void commit(struct fixture *fixture)
{
	struct error err;
	cr_assert_eq(store_commit(fixture->store, &err), 0, "%s", err.message);
}

static struct command add(struct fixture *fixture, const char *target, int64_t life_ms)
{
	static const struct command empty;
	struct command command = empty;
	struct error err;
	struct command_new parts = {.payload = {"{\"a\":1}", 7}};
	snprintf(command.org, sizeof command.org, "%s", "acme");
	snprintf(command.target, sizeof command.target, "%s", target);
	snprintf(command.action, sizeof command.action, "%s", "do");
	command.expires_ms = clock_now_ms() + life_ms;
	cr_assert_eq(store_command_add(fixture->store, &command, &parts, &err), 0, "%s",
		     err.message);
	return command;
}

static struct command get(struct fixture *fixture, int64_t seq)
{
	struct command command;
	struct error err;
	cr_assert_eq(store_command_get(fixture->store, seq, &command, &err), 0, "%s", err.message);
	return command;
}

/* Receives at most max as if it were now; the caller frees. */
static struct command *receive(struct fixture *fixture, size_t max, size_t max_bytes,
			       int64_t now_ms, size_t *count)
{
	struct command *commands = NULL;
	struct error err;
	bool has_more = false;
	*count = 0;
	struct receive_limits limits = {60000, max, max_bytes};
	cr_assert_eq(store_receive(fixture->store, "acme", "a", now_ms, &limits, &commands, count,
				   &has_more, &err),
		     0, "%s", err.message);
	return commands;
}

Test(service_store, keeps_a_command_over_a_new_start)
{
	struct fixture *fixture = set_up();
	struct command added = add(fixture, "a", HOUR_MS);
	commit(fixture);
	store_close(fixture->store);
	open_store(fixture);
	struct command found;
	struct error err;
	struct command_texts texts;
	cr_assert_eq(store_command_find(fixture->store, "acme", added.id, &found, &err), 0);
	cr_assert_eq(found.seq, added.seq);
	cr_assert_eq(found.status, STATUS_PENDING);
	cr_assert_eq(found.expires_ms, added.expires_ms);
	cr_assert_str_eq(found.action, "do");
	cr_assert_eq(store_texts_begin(fixture->store, found.seq, &texts, &err), 0);
	cr_assert_eq(texts.payload.size, 7);
	cr_assert_eq(memcmp(texts.payload.text, "{\"a\":1}", 7), 0);
	cr_assert_null(texts.metadata.text);
	cr_assert_null(texts.response.text);
	store_texts_end(fixture->store);
	tear_down(fixture);
}

Test(service_store, makes_ids_that_are_uuids_of_version_7_in_rising_order)
{
	struct fixture *fixture = set_up();
	struct command last = add(fixture, "a", HOUR_MS);
	for (int i = 0; i < 5000; i++) {
		struct command next = add(fixture, "a", HOUR_MS);
		cr_assert_gt(next.seq, last.seq);
		cr_assert_gt(strcmp(next.id, last.id), 0);
		cr_assert_eq(next.id[14], '7');
		cr_assert_not_null(strchr("89ab", next.id[19]));
		cr_assert_eq(command_seq(next.id), next.seq);
		last = next;
	}
	cr_assert_eq(command_seq("no uuid"), 0);
	cr_assert_eq(command_seq(""), 0);
	cr_assert_eq(command_seq("427b3b99-98da-4ce2-b976-6de34454441f"), 0);
	tear_down(fixture);
}

Test(service_store, finds_a_command_only_by_its_whole_id_and_its_org)
{
	struct fixture *fixture = set_up();
	struct command added = add(fixture, "a", HOUR_MS);
	struct command found;
	struct error err;
	char other[UUID_TEXT_SIZE];
	memcpy(other, added.id, sizeof other);
	other[35] = other[35] == '0' ? '1' : '0';
	cr_assert_eq(store_command_find(fixture->store, "acme", other, &found, &err),
		     ERR_NOT_FOUND);
	cr_assert_eq(store_command_find(fixture->store, "other", added.id, &found, &err),
		     ERR_NOT_FOUND);
	cr_assert_eq(store_command_find(fixture->store, NULL, added.id, &found, &err), 0);
	tear_down(fixture);
}

Test(service_store, delivers_the_oldest_first_with_a_lease_and_new_receipts)
{
	struct fixture *fixture = set_up();
	struct command first = add(fixture, "a", HOUR_MS);
	struct command second = add(fixture, "a", HOUR_MS);
	add(fixture, "b", HOUR_MS);
	size_t count;
	int64_t now_ms = clock_now_ms();
	struct command *got = receive(fixture, 10, 1000, now_ms, &count);
	cr_assert_eq(count, 2);
	cr_assert_eq(got[0].seq, first.seq);
	cr_assert_eq(got[1].seq, second.seq);
	cr_assert_eq(got[0].status, STATUS_PROCESSING);
	cr_assert_eq(got[0].attempt, 1);
	cr_assert_eq(got[0].due_ms, now_ms + 60000);
	cr_assert_neq(memcmp(got[0].receipt, got[1].receipt, RECEIPT_SIZE), 0);
	free(got);
	got = receive(fixture, 10, 1000, now_ms, &count);
	cr_assert_eq(count, 0);
	cr_assert_null(got);
	tear_down(fixture);
}

Test(service_store, delivers_one_command_even_when_it_is_too_large)
{
	struct fixture *fixture = set_up();
	for (int i = 0; i < 3; i++)
		add(fixture, "a", HOUR_MS);
	size_t count;
	free(receive(fixture, 10, 3, clock_now_ms(), &count));
	cr_assert_eq(count, 1);
	free(receive(fixture, 10, 14, clock_now_ms(), &count));
	cr_assert_eq(count, 2);
	tear_down(fixture);
}

Test(service_store, returns_a_command_when_its_lease_ends_and_gives_up_after_the_last_attempt)
{
	struct fixture *fixture = set_up();
	struct command added = add(fixture, "a", HOUR_MS);
	struct error err;
	int64_t now_ms = clock_now_ms();
	int64_t next_ms = 0;
	size_t count;
	for (int attempt = 1; attempt <= 3; attempt++) {
		free(receive(fixture, 1, 1000, now_ms, &count));
		cr_assert_eq(count, 1);
		cr_assert_eq(store_run_due(fixture->store, now_ms + 59999, 3, 10, &next_ms, &err),
			     0);
		cr_assert_eq(get(fixture, added.seq).status, STATUS_PROCESSING);
		cr_assert_eq(next_ms, now_ms + 60000);
		now_ms += 60000;
		cr_assert_eq(store_run_due(fixture->store, now_ms, 3, 10, &next_ms, &err), 0);
		cr_assert_eq(get(fixture, added.seq).status,
			     attempt < 3 ? STATUS_PENDING : STATUS_ERROR);
	}
	cr_assert_eq(next_ms, 0);
	cr_assert_eq(fixture->ends, 1);
	cr_assert_eq(fixture->last_end, added.seq);
	cr_assert_eq(fixture->pendings, 3);
	struct command ended = get(fixture, added.seq);
	cr_assert_eq(ended.change_count, 6);
	cr_assert_eq(ended.changes[5].event, EVENT_ATTEMPTS_ENDED);
	cr_assert_eq(ended.changes[1].event, EVENT_LEASE_ENDED);
	cr_assert_eq(ended.changes[2].attempt, 2);
	tear_down(fixture);
}

Test(service_store, ends_a_command_that_nobody_took_as_expired)
{
	struct fixture *fixture = set_up();
	struct command added = add(fixture, "a", 1000);
	struct error err;
	int64_t next_ms = 0;
	size_t count;
	cr_assert_eq(store_run_due(fixture->store, added.expires_ms - 1, 5, 10, &next_ms, &err), 0);
	cr_assert_eq(next_ms, added.expires_ms);
	cr_assert_eq(get(fixture, added.seq).status, STATUS_PENDING);
	cr_assert_eq(store_run_due(fixture->store, added.expires_ms, 5, 10, &next_ms, &err), 0);
	cr_assert_eq(get(fixture, added.seq).status, STATUS_EXPIRED);
	free(receive(fixture, 1, 1000, clock_now_ms(), &count));
	cr_assert_eq(count, 0);
	tear_down(fixture);
}

Test(service_store, keeps_the_lease_of_a_command_past_its_end_but_does_not_deliver_it_again)
{
	struct fixture *fixture = set_up();
	struct command added = add(fixture, "a", 1000);
	struct error err;
	int64_t next_ms = 0;
	int64_t now_ms = clock_now_ms();
	size_t count;
	free(receive(fixture, 1, 1000, now_ms, &count));
	cr_assert_eq(store_run_due(fixture->store, now_ms + 30000, 5, 10, &next_ms, &err), 0);
	cr_assert_eq(get(fixture, added.seq).status, STATUS_PROCESSING);
	cr_assert_eq(store_run_due(fixture->store, now_ms + 60000, 5, 10, &next_ms, &err), 0);
	struct command ended = get(fixture, added.seq);
	cr_assert_eq(ended.status, STATUS_EXPIRED);
	cr_assert_eq(ended.changes[1].event, EVENT_EXPIRED_LOST);
	tear_down(fixture);
}

Test(service_store, passes_over_expired_commands_to_the_ones_behind_them)
{
	struct fixture *fixture = set_up();
	for (int i = 0; i < 5; i++)
		add(fixture, "a", 1000);
	struct command last = add(fixture, "a", HOUR_MS);
	size_t count;
	struct command *got = receive(fixture, 2, 1000, clock_now_ms() + 2000, &count);
	cr_assert_eq(count, 1);
	cr_assert_eq(got[0].seq, last.seq);
	free(got);
	cr_assert_eq(fixture->ends, 5);
	tear_down(fixture);
}

Test(service_store, ends_many_expired_commands_in_several_receives)
{
	struct fixture *fixture = set_up();
	for (int i = 0; i < 1200; i++)
		add(fixture, "a", 1000);
	struct command last = add(fixture, "a", HOUR_MS);
	struct receive_limits limits = {60000, 100, 1000};
	int64_t now_ms = clock_now_ms() + 2000;
	struct command *commands = NULL;
	size_t count = 0;
	bool has_more = false;
	struct error err;
	for (size_t ended = 500; ended <= 1000; ended += 500) {
		cr_assert_eq(store_receive(fixture->store, "acme", "a", now_ms, &limits, &commands,
					   &count, &has_more, &err),
			     0);
		cr_assert_eq(count, 0);
		cr_assert_null(commands);
		cr_assert(has_more);
		cr_assert_eq(fixture->ends, ended);
	}
	cr_assert_eq(store_receive(fixture->store, "acme", "a", now_ms, &limits, &commands, &count,
				   &has_more, &err),
		     0);
	cr_assert_eq(count, 1);
	cr_assert_not(has_more);
	cr_assert_eq(commands[0].seq, last.seq);
	cr_assert_eq(fixture->ends, 1200);
	free(commands);
	tear_down(fixture);
}

Test(service_store, takes_a_delivery_back_as_if_it_had_not_been)
{
	struct fixture *fixture = set_up();
	struct command added = add(fixture, "a", HOUR_MS);
	struct error err;
	size_t count;
	struct command *got = receive(fixture, 1, 1000, clock_now_ms(), &count);
	cr_assert_eq(store_undeliver(fixture->store, &got[0], clock_now_ms(), &err), 0);
	struct command found = get(fixture, added.seq);
	cr_assert_eq(found.status, STATUS_PENDING);
	cr_assert_eq(found.attempt, 0);
	cr_assert_eq(found.change_count, 0);
	cr_assert_eq(found.due_ms, found.expires_ms);
	struct command *again = receive(fixture, 1, 1000, clock_now_ms(), &count);
	cr_assert_eq(count, 1);
	cr_assert_eq(again[0].attempt, 1);
	/* The old delivery means nothing any more. */
	cr_assert_eq(store_undeliver(fixture->store, &got[0], clock_now_ms(), &err), 0);
	cr_assert_eq(get(fixture, added.seq).status, STATUS_PROCESSING);
	free(got);
	free(again);
	tear_down(fixture);
}

Test(service_store, purges_the_oldest_first_and_only_what_waits_for_that_target)
{
	struct fixture *fixture = set_up();
	struct command first = add(fixture, "a", HOUR_MS);
	struct command second = add(fixture, "a", HOUR_MS);
	struct command third = add(fixture, "a", HOUR_MS);
	struct command other = add(fixture, "b", HOUR_MS);
	char ids[2][UUID_TEXT_SIZE];
	size_t count = 0;
	struct error err;
	cr_assert_eq(store_purge(fixture->store, "acme", "a", clock_now_ms(), 2, ids, &count, &err),
		     0);
	cr_assert_eq(count, 2);
	cr_assert_str_eq(ids[0], first.id);
	cr_assert_str_eq(ids[1], second.id);
	cr_assert_eq(get(fixture, first.seq).status, STATUS_PURGED);
	cr_assert_eq(get(fixture, first.seq).due_ms, 0);
	cr_assert_eq(get(fixture, third.seq).status, STATUS_PENDING);
	cr_assert_eq(get(fixture, other.seq).status, STATUS_PENDING);
	cr_assert_eq(fixture->ends, 2);
	tear_down(fixture);
}

Test(service_store, finds_tokens_until_they_are_revoked)
{
	struct fixture *fixture = set_up();
	struct token token = {.role = ROLE_AGENT, .org = "acme", .agent = "a"};
	struct token found;
	uint8_t digest[SHA256_SIZE], other[SHA256_SIZE];
	struct error err;
	digest_sha256("one", 3, digest);
	digest_sha256("two", 3, other);
	cr_assert_eq(store_token_add(fixture->store, &token, digest, &err), 0);
	cr_assert_eq(store_token_find(fixture->store, digest, &found, &err), 0);
	cr_assert_str_eq(found.id, token.id);
	cr_assert_str_eq(found.agent, "a");
	cr_assert_eq(found.role, ROLE_AGENT);
	cr_assert_eq(store_token_find(fixture->store, other, &found, &err), ERR_NOT_FOUND);
	cr_assert_eq(store_token_revoke(fixture->store, "none", 5, &err), ERR_NOT_FOUND);
	cr_assert_eq(store_token_revoke(fixture->store, token.id, 5, &err), 0);
	cr_assert_eq(store_token_find(fixture->store, digest, &found, &err), ERR_NOT_FOUND);
	tear_down(fixture);
}

Test(service_store, forgets_an_uncommitted_turn)
{
	struct fixture *fixture = set_up();
	struct command added = add(fixture, "a", HOUR_MS);
	struct command found;
	struct error err;
	cr_assert(store_in_turn(fixture->store));
	store_close(fixture->store); /* as a crash would */
	open_store(fixture);
	cr_assert_not(store_in_turn(fixture->store));
	cr_assert_eq(store_command_find(fixture->store, "acme", added.id, &found, &err),
		     ERR_NOT_FOUND);
	tear_down(fixture);
}

Test(service_store, forgets_old_ended_commands_only)
{
	struct fixture *fixture = set_up();
	struct command ended = add(fixture, "a", 1000);
	struct command waiting = add(fixture, "a", 100 * HOUR_MS);
	struct error err;
	int64_t next_ms = 0;
	size_t count = 0;
	bool has_files = false;
	int64_t later_ms = ended.expires_ms + 10;
	cr_assert_eq(store_run_due(fixture->store, later_ms, 5, 10, &next_ms, &err), 0);
	cr_assert_eq(store_forget(fixture->store, later_ms, later_ms, 10, &has_files, &count, &err),
		     0);
	cr_assert_eq(count, 0);
	cr_assert_eq(
	    store_forget(fixture->store, later_ms + 1, later_ms + 1, 10, &has_files, &count, &err),
	    0);
	cr_assert_eq(count, 1);
	cr_assert_not(has_files);
	struct command found;
	cr_assert_eq(store_command_get(fixture->store, ended.seq, &found, &err), ERR_NOT_FOUND);
	cr_assert_eq(store_command_get(fixture->store, waiting.seq, &found, &err), 0);
	tear_down(fixture);
}

Test(service_store, is_served_by_one_process_only)
{
	struct fixture *fixture = set_up();
	struct store *second = NULL;
	struct error err;
	cr_assert_eq(store_open(&second, fixture->path, STORE_SERVE, &err), ERR_BUSY);
	cr_assert(strstr(err.message, "another command-service runs on it"));
	cr_assert_null(second);
	cr_assert_eq(store_open(&second, fixture->path, STORE_TOOL, &err), 0);
	store_close(second);
	tear_down(fixture);
}

Test(service_store, does_not_touch_files_of_others)
{
	struct fixture *fixture = set_up();
	struct store *store = NULL;
	struct error err;
	char path[128];
	snprintf(path, sizeof path, "%s/text", fixture->folder);
	FILE *file = fopen(path, "w");
	for (int i = 0; i < 1000; i++)
		fputs("this is no database\n", file);
	fclose(file);
	cr_assert_eq(store_open(&store, path, STORE_SERVE, &err), ERR_INVALID);
	cr_assert(strstr(err.message, "is no SQLite database"), "%s", err.message);
	snprintf(path, sizeof path, "%s/none/commands.db", fixture->folder);
	cr_assert_eq(store_open(&store, path, STORE_SERVE, &err), ERR_SYSTEM);
	cr_assert(strstr(err.message, path));
	snprintf(path, sizeof path, "%s/absent", fixture->folder);
	cr_assert_eq(store_open(&store, path, STORE_EXISTING, &err), ERR_NOT_FOUND);
	cr_assert_eq(access(path, F_OK), -1);
	tear_down(fixture);
}

Test(service_store, gives_urls_their_own_keys)
{
	struct fixture *fixture = set_up();
	char upload[URL_KEY_TEXT_SIZE], body[URL_KEY_TEXT_SIZE], again[URL_KEY_TEXT_SIZE];
	struct command first = add(fixture, "a", HOUR_MS);
	struct command second = add(fixture, "a", HOUR_MS);
	store_url_key(fixture->store, first.id, URL_UPLOAD, upload);
	store_url_key(fixture->store, first.id, URL_BODY, body);
	cr_assert_str_neq(upload, body);
	cr_assert_eq(strlen(upload), 32);
	store_url_key(fixture->store, second.id, URL_UPLOAD, again);
	cr_assert_str_neq(upload, again);
	store_close(fixture->store);
	open_store(fixture);
	store_url_key(fixture->store, first.id, URL_UPLOAD, again);
	cr_assert_str_eq(upload, again);
	tear_down(fixture);
}
