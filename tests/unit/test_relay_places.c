#include "agent/relay_inside.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"

#include <criterion/criterion.h>

enum { MANY = 10, A_TURN = 4 };

/* Requests to a port at which nobody listens. */
struct story {
	struct loop *loop;
	struct settings settings;
	struct http_client *client;
	struct relay *relay;
	size_t ended;
	size_t awaited;
};

static void on_end(void *context, struct command *command)
{
	struct story *story = context;
	cr_assert_str_eq(command->answer.code, "ECONNREFUSED");
	command_free(command);
	if (++story->ended == story->awaited)
		loop_stop(story->loop);
}

static void begin(struct story *story)
{
	struct error err;
	*story = (struct story){.settings = {.max_in_flight = 100,
					     .max_in_flight_per_host = 100,
					     .request_timeout_ms = 10000,
					     .max_timeout_ms = 10000,
					     .max_response_bytes = 1000}};
	story->loop = loop_new(&err);
	cr_assert_not_null(story->loop);
	story->client = http_client_new(story->loop, NULL, 16, &err);
	cr_assert_not_null(story->client, "%s", err.message);
	story->relay = relay_new(story->loop, story->client, &story->settings, on_end, story, &err);
	cr_assert_not_null(story->relay, "%s", err.message);
}

static void end(struct story *story)
{
	relay_free(story->relay);
	http_client_free(story->client);
	loop_free(story->loop);
}

static void take(struct story *story, int count)
{
	static const char text[] = "{\"method\":\"POST\",\"url\":\"http://127.0.0.1:1/\"}";
	struct error err;
	for (int i = 0; i < count; i++) {
		struct json_object *payload = NULL;
		cr_assert_eq(json_parse(text, sizeof text - 1, &payload, &err), 0);
		relay_take_payload(story->relay, payload);
		story->awaited++;
	}
}

/* More than a turn takes, and none of them waits for so long, however slow this machine is. */
static void take_crowd(struct story *story)
{
	take(story, A_TURN + 1);
	story->relay->crowded_ms = clock_monotonic_ms() + 1000000;
	take(story, MANY - A_TURN - 1);
}

static int length(const struct command_list *list)
{
	int count = 0;
	const struct command *command;
	TAILQ_FOREACH(command, list, link)
	{
		count++;
	}
	return count;
}

Test(relay_places, a_crowd_goes_out_a_few_a_turn_and_all_of_it)
{
	struct story story;
	begin(&story);
	take_crowd(&story);
	cr_assert_eq(length(&story.relay->active), A_TURN);
	cr_assert_eq(length(&story.relay->cleared), MANY - A_TURN);
	cr_assert_eq(relay_running(story.relay), MANY);
	loop_run(story.loop);
	cr_assert_eq(story.ended, MANY);
	cr_assert_eq(relay_running(story.relay), 0);
	end(&story);
}

/* Turns may be long: whoever was cleared a while ago waits for no more of them. */
Test(relay_places, a_crowd_that_has_waited_goes_out_at_once)
{
	struct story story;
	begin(&story);
	take_crowd(&story);
	story.relay->crowded_ms = clock_monotonic_ms() - 1000;
	take(&story, 1);
	cr_assert(TAILQ_EMPTY(&story.relay->cleared));
	cr_assert_eq(length(&story.relay->active), MANY + 1);
	loop_run(story.loop);
	cr_assert_eq(story.ended, MANY + 1);
	end(&story);
}

Test(relay_places, who_is_cleared_and_has_not_gone_out_is_given_up_with_the_others)
{
	struct story story;
	begin(&story);
	take_crowd(&story);
	cr_assert_not(TAILQ_EMPTY(&story.relay->cleared));
	end(&story);
}
