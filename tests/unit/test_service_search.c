#include "base/clock.h"
#include "base/mem.h"
#include "service/store.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Searches are compared with a plain look through all commands. */
enum { COUNT = 700, PAGE = 200 };

static const char *const targets[] = {"t0", "t1", "t2"};
static const char *const actions[] = {"b", "a"};
static const char *const colours[] = {"red", "green", "blue", "none"};

struct fixture {
	char folder[64];
	struct store *store;
	struct command commands[COUNT];
	const char *colours[COUNT];
};

static void on_pending(void *context, const char *org, const char *target)
{
	(void)context;
	(void)org;
	(void)target;
}

static void on_end(void *context, int64_t seq)
{
	(void)context;
	(void)seq;
}

/* Numbers that are the same in each run. */
static unsigned next_number(unsigned *state)
{
	*state = *state * 1103515245 + 12345;
	return *state >> 16;
}

static void add(struct fixture *fixture, size_t i, unsigned *state)
{
	static const struct command empty;
	struct command *command = &fixture->commands[i];
	struct error err;
	const char *colour = colours[next_number(state) % 4];
	char metadata[64];
	struct metadata_pair pair = {"colour", colour};
	struct command_new parts = {.payload = {"1", 1}};
	*command = empty;
	snprintf(command->org, sizeof command->org, "%s", i % 10 == 9 ? "other" : "acme");
	snprintf(command->target, sizeof command->target, "%s", targets[next_number(state) % 3]);
	snprintf(command->action, sizeof command->action, "%s", actions[next_number(state) % 2]);
	command->expires_ms = clock_now_ms() + 10000 + next_number(state) % 500 * 10;
	snprintf(metadata, sizeof metadata, "{\"colour\":\"%s\"}", colour);
	if (strcmp(colour, "none") != 0) {
		parts.metadata = (struct span){metadata, strlen(metadata)};
		parts.pairs = &pair;
		parts.pair_count = 1;
	}
	fixture->colours[i] = colour;
	cr_assert_eq(store_command_add(fixture->store, command, &parts, &err), 0);
}

/* Some get other statuses, at other times. */
static void change(struct fixture *fixture, unsigned *state)
{
	struct error err;
	for (int i = 0; i < 120; i++) {
		struct command *got = NULL;
		struct receive_limits limits = {60000, 3, 1000};
		bool has_more = false;
		size_t count = 0;
		int64_t now_ms = clock_now_ms() + next_number(state) % 1000;
		cr_assert_eq(store_receive(fixture->store, "acme", targets[next_number(state) % 3],
					   now_ms, &limits, &got, &count, &has_more, &err),
			     0);
		for (size_t n = 0; n < count; n++) {
			if (next_number(state) % 2)
				cr_assert_eq(
				    store_command_end(fixture->store, &got[n],
						      next_number(state) % 3 ? STATUS_SUCCESS
									     : STATUS_FAILURE,
						      EVENT_REPORTED, now_ms + 5, RESPONSE_NONE,
						      (struct span){0}, &err),
				    0);
		}
		free(got);
	}
	for (size_t i = 0; i < COUNT; i++)
		cr_assert_eq(store_command_get(fixture->store, fixture->commands[i].seq,
					       &fixture->commands[i], &err),
			     0);
}

static struct fixture *set_up(void)
{
	struct fixture *fixture = mem_new(struct fixture);
	struct store_observer observer = {NULL, on_pending, on_end};
	struct error err;
	char path[96];
	unsigned state = 42;
	snprintf(fixture->folder, sizeof fixture->folder, "/tmp/test-search-XXXXXX");
	cr_assert_not_null(mkdtemp(fixture->folder));
	snprintf(path, sizeof path, "%s/commands.db", fixture->folder);
	cr_assert_eq(store_open(&fixture->store, path, STORE_SERVE, &err), 0, "%s", err.message);
	store_observe(fixture->store, &observer);
	for (size_t i = 0; i < COUNT; i++)
		add(fixture, i, &state);
	change(fixture, &state);
	cr_assert_eq(store_commit(fixture->store, &err), 0);
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

/* ---- The plain way */

static bool is_among(const char *text, const char *const *values, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(text, values[i]) == 0)
			return true;
	}
	return count == 0;
}

static bool is_in(int64_t value, struct search_range range)
{
	return value >= range.from && value <= range.to;
}

static bool matches(const struct fixture *fixture, const struct search *search, size_t i)
{
	const struct command *command = &fixture->commands[i];
	for (size_t n = 0; n < search->pair_count; n++) {
		if (strcmp(search->pairs[n].key, "colour") != 0 ||
		    strcmp(search->pairs[n].value, fixture->colours[i]) != 0 ||
		    strcmp("none", fixture->colours[i]) == 0)
			return false;
	}
	return strcmp(command->org, search->org) == 0 &&
	       is_among(command->target, search->targets, search->target_count) &&
	       is_among(command->action, search->actions, search->action_count) &&
	       (search->any_status || search->statuses[command->status]) &&
	       is_in(command->created_ms, search->range[SEARCH_CREATED]) &&
	       is_in(command->updated_ms, search->range[SEARCH_UPDATED]) &&
	       is_in(command->expires_ms, search->range[SEARCH_EXPIRES]);
}

static int64_t key_of(const struct search *search, const struct command *command)
{
	if (search->key == SEARCH_UPDATED)
		return command->updated_ms;
	return search->key == SEARCH_EXPIRES ? command->expires_ms : command->seq;
}

static const char *label_of(const struct search *search, const struct command *command)
{
	if (search->group == GROUP_STATUS)
		return status_name(command->status);
	if (search->group == GROUP_ACTION)
		return command->action;
	return search->group == GROUP_TARGET ? command->target : "";
}

static int compare(const void *left, const void *right, void *context)
{
	const struct search *search = context;
	const struct command *a = *(const struct command *const *)left;
	const struct command *b = *(const struct command *const *)right;
	int order = strcmp(label_of(search, a), label_of(search, b));
	if (order == 0)
		order = (key_of(search, a) > key_of(search, b)) -
			(key_of(search, a) < key_of(search, b));
	if (order == 0)
		order = (a->seq > b->seq) - (a->seq < b->seq);
	return search->is_ascending ? order : -order;
}

static void assert_same(struct fixture *fixture, struct search *search)
{
	const struct command *expected[COUNT];
	int64_t seqs[PAGE];
	size_t total = 0, count = 0;
	bool has_next = false;
	struct error err;
	for (size_t i = 0; i < COUNT; i++) {
		if (matches(fixture, search, i))
			expected[total++] = &fixture->commands[i];
	}
	qsort_r(expected, total, sizeof *expected, compare, search);
	cr_assert_eq(store_search(fixture->store, search, seqs, &count, &has_next, &err), 0, "%s",
		     err.message);
	size_t left = total > search->from ? total - search->from : 0;
	cr_assert_eq(count, left < search->size ? left : search->size, "%zu of %zu", count, left);
	cr_assert_eq(has_next, left > search->size);
	for (size_t i = 0; i < count; i++)
		cr_assert_eq(seqs[i], expected[search->from + i]->seq, "hit %zu", i);
}

static struct search everything(void)
{
	struct search search = {.org = "acme", .any_status = true, .size = 50};
	for (size_t i = 0; i < 3; i++)
		search.range[i] = (struct search_range){INT64_MIN, INT64_MAX};
	return search;
}

/* Each filter and order is drawn or not. */
static struct search draw(const struct fixture *fixture, unsigned *state)
{
	struct search search = everything();
	const struct command *some = &fixture->commands[next_number(state) % COUNT];
	search.key = (enum search_key)(next_number(state) % 3);
	if (next_number(state) % 3 == 0) {
		search.key = SEARCH_CREATED;
		search.group = (enum search_group)(next_number(state) % 4);
	}
	search.is_ascending = next_number(state) % 2;
	search.few = next_number(state) % 3 ? 1 + next_number(state) % 40 : 0;
	search.from = next_number(state) % 3 ? 0 : next_number(state) % 300;
	search.size = 1 + next_number(state) % PAGE;
	if (next_number(state) % 3 == 0)
		search.targets[search.target_count++] = targets[next_number(state) % 3];
	if (next_number(state) % 4 == 0)
		search.targets[search.target_count++] = targets[next_number(state) % 3];
	if (next_number(state) % 4 == 0)
		search.actions[search.action_count++] = actions[next_number(state) % 2];
	if (next_number(state) % 3 == 0) {
		search.any_status = false;
		search.statuses[STATUS_PENDING + next_number(state) % 4] = true;
	}
	if (next_number(state) % 4 == 0)
		search.pairs[search.pair_count++] =
		    (struct metadata_pair){"colour", colours[next_number(state) % 4]};
	int64_t values[] = {some->created_ms, some->updated_ms, some->expires_ms};
	for (size_t i = 0; i < 3; i++) {
		if (next_number(state) % 5 == 0)
			search.range[i].from = values[i];
		if (next_number(state) % 5 == 0)
			search.range[i].to = values[i] + next_number(state) % 2000;
	}
	return search;
}

Test(service_search, finds_what_a_plain_look_through_everything_finds)
{
	struct fixture *fixture = set_up();
	unsigned state = 7;
	for (int i = 0; i < 1500; i++) {
		struct search search = draw(fixture, &state);
		assert_same(fixture, &search);
	}
	tear_down(fixture);
}

Test(service_search, pages_without_gaps_or_repetitions)
{
	struct fixture *fixture = set_up();
	for (int key = SEARCH_CREATED; key <= SEARCH_EXPIRES; key++) {
		for (size_t from = 0; from < COUNT; from += 90) {
			struct search search = everything();
			search.key = (enum search_key)key;
			search.from = from;
			search.size = 90;
			assert_same(fixture, &search);
		}
	}
	tear_down(fixture);
}

Test(service_search, finds_nothing_of_other_orgs)
{
	struct fixture *fixture = set_up();
	struct search search = everything();
	int64_t seqs[PAGE];
	size_t count = 1;
	bool has_next = true;
	struct error err;
	search.org = "nobody";
	cr_assert_eq(store_search(fixture->store, &search, seqs, &count, &has_next, &err), 0);
	cr_assert_eq(count, 0);
	cr_assert_not(has_next);
	tear_down(fixture);
}
