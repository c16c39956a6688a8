#include "agent/agent_inside.h"

#include "agent/kill_point.h"
#include "agent/limits.h"
#include "agent/resume.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { GIVE_BACK_MS = 2000 }; /* after the last command: memory that a burst needed */

static void take_receipt(struct command *command, const struct transport_delivery *delivery)
{
	if (command->is_posting) {
		/* The transport has the receipt before; this delivery is answered after that. */
		free(command->next_receipt);
		command->next_receipt =
		    delivery->receipt != NULL ? mem_strdup(delivery->receipt) : NULL;
		command->next_attempt = delivery->attempt;
		command->is_wanted_again = true;
		return;
	}
	free(command->receipt);
	command->receipt = delivery->receipt != NULL ? mem_strdup(delivery->receipt) : NULL;
	command->attempt = delivery->attempt;
	command->is_told = false;
}

void agent_tell_taken(struct agent *agent, struct command *command)
{
	struct transport_taken taken = {
	    .command_id = command->id,
	    .target_id = command->target_id,
	    .receipt = command->receipt,
	    .is_news = command->state < COMMAND_DONE && !command->is_news_out,
	};
	if (command->is_told || agent->transport == NULL)
		return;
	command->is_told = true;
	command->is_news_out = true;
	agent->transport->ops->taken(agent->transport, &taken);
}

/* A command that ended before is answered again with the answer that is stored. */
static bool answer_again(struct agent *agent, struct command *command)
{
	enum journal_found found = journal_find(agent->journal, command);
	command->is_interrupted = found == JOURNAL_UNREADABLE;
	if (found != JOURNAL_KNOWN)
		return false;
	log_info("command %s was delivered again; its stored answer is posted again", command->id);
	command->is_stored = true;
	command->is_unloaded = true;
	command_set_state(command, COMMAND_DONE);
	agent_tell_taken(agent, command);
	outbox_push(agent->outbox, command);
	return true;
}

static void keep_text(struct agent *agent, struct command *command,
		      const struct transport_delivery *delivery)
{
	const char *text = delivery->text.text;
	size_t size = delivery->text.size;
	if (text == NULL)
		text = json_object_to_json_string_length(
		    delivery->command, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE,
		    &size);
	journal_keep_text(agent->journal, command, text, size, delivery->kept);
}

static void take(struct agent *agent, struct command *command,
		 const struct transport_delivery *delivery, const struct problems *problems)
{
	take_receipt(command, delivery);
	held_add(&agent->held, command);
	if (answer_again(agent, command))
		return;
	/* Who had it before may have made the request. */
	command->is_interrupted |= delivery->attempt > 1;
	keep_text(agent, command, delivery);
	kill_point("after-receive");
	relay_take(agent->relay, command, problems);
	journal_write(agent->journal, command);
}

/* NULL: nobody can be answered for it. */
static struct command *command_of(const struct transport_delivery *delivery,
				  struct problems *problems, struct error *err)
{
	if (delivery->receipt != NULL && strlen(delivery->receipt) > LIMIT_RECEIPT_BYTES) {
		error_set(err, ERR_LIMIT, "receipt: longer than %d bytes", LIMIT_RECEIPT_BYTES);
		return NULL;
	}
	return command_new(delivery->command, problems, err);
}

void agent_on_delivery(void *context, const struct transport_delivery *delivery)
{
	struct agent *agent = context;
	struct problems problems = PROBLEMS_INIT;
	struct error err;
	if (delivery->problem != NULL)
		problems_add(&problems, "%s", delivery->problem);
	struct command *command = command_of(delivery, &problems, &err);
	if (command == NULL) {
		log_warn("a command that nobody can be answered for is dropped: %s", err.message);
	} else {
		struct command *held = held_find(&agent->held, command->id);
		if (held != NULL) {
			/* Delivered again while it is under way: its answer goes to the newer
			 * delivery. */
			take_receipt(held, delivery);
			if (held->is_stored)
				agent_tell_taken(agent, held);
			command_free(command);
		} else {
			take(agent, command, delivery, &problems);
		}
	}
	problems_release(&problems);
}

void agent_on_posted(void *context, struct transport_post **posts, size_t count,
		     const struct transport_outcome *outcome)
{
	struct agent *agent = context;
	outbox_on_posted(agent->outbox, posts, count, outcome);
}

/* A command has its place: its request starts once that is on disk. */
void agent_on_execute(void *context, struct command *command)
{
	struct agent *agent = context;
	journal_write(agent->journal, command);
}

void agent_on_command_end(void *context, struct command *command)
{
	struct agent *agent = context;
	kill_point("after-answer");
	agent->ending++;
	command->is_ended = true;
	journal_write(agent->journal, command);
	agent_poll_soon(agent);
}

void agent_on_durable(void *context, struct command *command)
{
	struct agent *agent = context;
	agent_tell_taken(agent, command);
	if (command->state == COMMAND_EXECUTING) {
		kill_point("before-first-byte");
		relay_go(agent->relay, command);
	} else if (command->state == COMMAND_DONE && command->is_ended) {
		kill_point("after-journal-of-answer");
		agent->ending--;
		if (agent->outbox != NULL)
			outbox_push(agent->outbox, command);
	} else {
		kill_point("after-journal");
	}
}

void agent_on_begun_anew(void *context)
{
	struct agent *agent = context;
	for (struct command *command = held_first(&agent->held); command != NULL;
	     command = held_next(command)) {
		journal_write_again(agent->journal, command);
	}
}

static void post_again(struct agent *agent, struct command *command)
{
	struct command *again = command_new_again(command);
	held_add(&agent->held, again);
	agent_tell_taken(agent, again);
	outbox_push(agent->outbox, again);
}

void agent_on_settled(void *context, struct command *command)
{
	struct agent *agent = context;
	kill_point("after-post");
	journal_posted(agent->journal, command);
	agent->transport->ops->settled(agent->transport, command->receipt);
	held_remove(&agent->held, command);
	if (command->is_wanted_again)
		post_again(agent, command);
	command_free(command);
	agent->settled++;
	if (held_count(&agent->held) == 0)
		loop_timer_start(agent->give_back, GIVE_BACK_MS);
	agent_poll_soon(agent);
	agent_stop_if_drained(agent);
}

size_t agent_in_flight(void *context)
{
	const struct agent *agent = context;
	return held_count(&agent->held);
}

size_t agent_under_way(void *context)
{
	const struct agent *agent = context;
	return relay_running(agent->relay) + agent->ending;
}

void agent_resume(void *context, const struct journal_row *row)
{
	struct agent *agent = context;
	struct problems problems = PROBLEMS_INIT;
	struct command *command = resume_command(row, &problems);
	held_add(&agent->held, command);
	if (row->state == COMMAND_DONE)
		command->is_ended = true;
	else if (command->state == COMMAND_DONE)
		agent_on_command_end(agent, command);
	else
		relay_take(agent->relay, command, &problems);
	agent->resumed++;
	problems_release(&problems);
}
