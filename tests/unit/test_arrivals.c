#include "agent/arrivals.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEXTS = 2, COMMANDS = 3, LETTERS = 700 * 1024 };

static char folder[] = "/tmp/relay-arrivals-XXXXXX";

/* What happened, in order: the name of each command, a point for each text that is gone. */
struct story {
	struct loop *loop;
	struct loop_task turn;
	struct arrivals *arrivals;
	char text[32];
	int turns;         /* since the beginning */
	int turns_between; /* at least, before each command */
	int turns_at_most; /* then the loop stops */
	bool keeps;        /* files of the texts are expected */
	bool is_running;
};

static void tell(struct story *story, const char *what)
{
	strncat(story->text, what, sizeof story->text - strlen(story->text) - 1);
}

static void on_command(void *context, struct json_object *command, const struct json_span *text,
		       struct spool *kept, const char *problem)
{
	struct story *story = context;
	const char *name;
	struct json_object *parsed;
	struct error err;
	cr_assert_null(problem);
	cr_assert_eq(json_get_text(command, "name", &name, &err), 0);
	cr_assert_eq(json_parse(text->text, text->size, &parsed, &err), 0);
	cr_assert(json_object_equal(parsed, command));
	json_object_put(parsed);
	tell(story, name);
	if (story->turns < story->turns_between)
		story->turns_between = story->turns;
	story->turns = 0;
	char *bytes = malloc(text->size);
	size_t count;
	cr_assert_eq(spool_is_file(kept), story->keeps);
	cr_assert_eq(spool_read(kept, bytes, text->size, &count, &err), 0);
	cr_assert_eq(count, text->size);
	cr_assert_arr_eq(bytes, text->text, text->size);
	free(bytes);
}

static void on_done(void *context)
{
	struct story *story = context;
	tell(story, ".");
	if (story->is_running && arrivals_bytes(story->arrivals) == 0)
		loop_stop(story->loop);
}

static void on_turn(void *context)
{
	struct story *story = context;
	if (++story->turns == story->turns_at_most)
		loop_stop(story->loop);
	loop_next_turn(story->loop, &story->turn);
}

static void add_text(struct story *story, char first)
{
	struct buf text = BUF_INIT(SIZE_MAX / 2);
	struct json_span spans[COMMANDS];
	size_t begins[COMMANDS];
	for (int i = 0; i < COMMANDS; i++) {
		buf_append_str(&text, i > 0 ? ", " : "[\"small\", ");
		begins[i] = text.size;
		buf_printf(&text, "{\"name\":\"%c\",\"body\":\"", first + i);
		for (int letter = 0; letter < LETTERS; letter += 8)
			buf_append_str(&text, letter % 64 == 0 ? "escape\\n" : "letters ");
		buf_append_str(&text, "\"}");
		spans[i].size = text.size - begins[i];
	}
	buf_append_char(&text, ']');
	for (int i = 0; i < COMMANDS; i++)
		spans[i].text = text.data + begins[i];
	size_t before = arrivals_bytes(story->arrivals);
	size_t size = text.size;
	arrivals_add(story->arrivals, &text, spans, COMMANDS);
	cr_assert_eq(text.size, 0);
	cr_assert_eq(arrivals_bytes(story->arrivals), before + size);
}

static void begin(struct story *story, const char *where)
{
	struct error err;
	*story = (struct story){.turns_between = INT32_MAX, .keeps = where == folder};
	struct arrivals_events events = {
	    .context = story, .on_command = on_command, .on_done = on_done};
	cr_assert_not_null(mkdtemp(folder));
	story->loop = loop_new(&err);
	cr_assert_not_null(story->loop);
	story->turn = (struct loop_task){.run = on_turn, .context = story};
	story->arrivals = arrivals_new(story->loop, where, &events);
	add_text(story, 'a');
	add_text(story, 'A');
	cr_assert_str_empty(story->text);
}

static void end(struct story *story)
{
	arrivals_free(story->arrivals);
	loop_cancel(story->loop, &story->turn);
	loop_free(story->loop);
	cr_assert_eq(rmdir(folder), 0, "a file was left behind");
}

Test(arrivals, commands_come_one_after_the_other_with_turns_of_others_between)
{
	struct story story;
	begin(&story, folder);
	loop_next_turn(story.loop, &story.turn);
	story.is_running = true;
	loop_run(story.loop);
	cr_assert_str_eq(story.text, "abc.ABC.");
	/* 700 KiB are three pieces to parse and three to write, two of which share a turn. */
	cr_assert_geq(story.turns_between, 4);
	end(&story);
}

Test(arrivals, hurry_hands_over_what_is_left)
{
	struct story story;
	begin(&story, folder);
	arrivals_hurry(story.arrivals);
	cr_assert_str_eq(story.text, "abc.ABC.");
	cr_assert_eq(arrivals_bytes(story.arrivals), 0);
	arrivals_hurry(story.arrivals);
	cr_assert_str_eq(story.text, "abc.ABC.");
	end(&story);
}

Test(arrivals, without_a_file_a_command_comes_all_the_same)
{
	struct story story;
	begin(&story, "/nowhere/at/all");
	arrivals_hurry(story.arrivals);
	cr_assert_str_eq(story.text, "abc.ABC.");
	end(&story);
}

/* Within a text that is parsed, and within one that is written: the sanitizers see what stays. */
Test(arrivals, what_has_not_come_out_goes_silently)
{
	for (int turns = 1; turns <= 4; turns++) {
		struct story story;
		begin(&story, folder);
		story.turns_at_most = turns;
		loop_next_turn(story.loop, &story.turn);
		loop_run(story.loop);
		cr_assert_str_empty(story.text);
		end(&story);
		memcpy(folder + sizeof folder - 7, "XXXXXX", 6);
	}
}
