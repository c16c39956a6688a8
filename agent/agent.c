#include "agent/agent.h"

#include "agent/endpoint.h"
#include "agent/held.h"
#include "agent/journal.h"
#include "agent/kill_point.h"
#include "agent/leases.h"
#include "agent/limits.h"
#include "agent/outbox.h"
#include "agent/relay.h"
#include "agent/resume.h"
#include "agent/transport.h"
#include "agent/transport_auto.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum {
	HEARTBEAT_MS = 30000,
	SIGN_OF_LIFE_MS = 3600000, /* one log line an hour */
	GATHER_MS = 1000,          /* how long a receive waits for room to be worth its call */
	GIVE_BACK_MS = 2000,       /* after the last command: memory that a burst needed */
	EXPIRE_MS = 60000,         /* how often answers that nobody took are looked through */
};

enum agent_state {
	AGENT_RUNNING,
	AGENT_DRAINING, /* takes nothing new, ends what it has */
	AGENT_STOPPED,  /* says a last word */
};

struct agent {
	const struct settings *settings;
	enum agent_state state;
	int exit_code;
	struct loop *loop;
	struct http_client *client;
	struct transport_question *question; /* which transport? NULL: not asked */
	struct transport *transport;         /* NULL: not known yet, nor is the outbox there */
	struct journal *journal;
	struct relay *relay;
	struct outbox *outbox;
	struct held held;
	struct source *source;
	struct endpoint *polling;
	struct leases *leases;
	struct endpoint *announcing;
	bool is_polling;
	bool has_gathered;    /* the next receive goes, however little room there is */
	bool was_reached;     /* the source has answered once */
	uint64_t settled;     /* since the start */
	size_t resumed;       /* commands of an earlier life */
	size_t announcements; /* calls under way */
	size_t ending;        /* commands whose answer is not on disk yet */
	struct loop_task poll;
	struct loop_task stop_receiving;
	struct loop_timer *gather;
	struct loop_timer *heartbeat;
	struct loop_timer *sign_of_life;
	struct loop_timer *expire;
	struct loop_timer *give_back;
	struct loop_timer *drain;
};

static void say_goodbye(void *context)
{
	struct agent *agent = context;
	log_info("stopped: %llu commands were relayed", (unsigned long long)agent->settled);
	loop_stop(agent->loop);
}

/* Of commands whose answers wait for a transport there is nothing to be seen here: they are in
 * the journal. */
static size_t answers_waiting(const struct agent *agent)
{
	return agent->outbox != NULL ? outbox_count(agent->outbox) : 0;
}

static void stop_if_drained(struct agent *agent)
{
	if (agent->state != AGENT_DRAINING || agent->is_polling || agent->ending > 0 ||
	    relay_running(agent->relay) > 0 || answers_waiting(agent) > 0)
		return;
	agent->state = AGENT_STOPPED;
	loop_timer_stop(agent->drain);
	if (agent->transport == NULL) {
		say_goodbye(agent);
		return;
	}
	agent->announcements++;
	agent->transport->ops->announce(agent->transport, "STOPPED", say_goodbye, agent);
}

/* Answers that wait count as well: a source that gives and does not take must not fill us. */
static bool has_room(const struct agent *agent)
{
	return journal_has_room(agent->journal) && answers_waiting(agent) < LIMIT_HELD_COMMANDS;
}

static void ask_for_transport(struct agent *agent);

/* Where a receive can bring several commands, one for a single free place is waste. */
static bool waits_for_room(struct agent *agent, size_t room)
{
	bool waits = room < agent->transport->receive_worthwhile && !agent->has_gathered;
	if (!waits)
		loop_timer_stop(agent->gather);
	else if (!loop_timer_is_running(agent->gather))
		loop_timer_start(agent->gather, GATHER_MS);
	return waits;
}

static void poll(void *context)
{
	struct agent *agent = context;
	size_t room = relay_room(agent->relay);
	if (agent->state != AGENT_RUNNING || agent->is_polling || endpoint_waits(agent->polling))
		return;
	if (agent->transport == NULL) { /* also without room: it is what the answers wait for */
		ask_for_transport(agent);
		return;
	}
	if (room == 0 || !has_room(agent) || waits_for_room(agent, room))
		return;
	agent->has_gathered = false;
	agent->is_polling = true;
	agent->transport->ops->receive(agent->transport, room);
}

/* A turn later, so that the requests of the commands that have just come go first. */
static void poll_soon(void *context)
{
	struct agent *agent = context;
	loop_next_turn(agent->loop, &agent->poll);
}

static void on_gathered(void *context)
{
	struct agent *agent = context;
	agent->has_gathered = true;
	poll_soon(agent);
}

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

/* The command is in the journal: its source may forget this delivery. */
static void tell_taken(struct agent *agent, struct command *command)
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
	tell_taken(agent, command);
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

static void on_delivery(void *context, const struct transport_delivery *delivery)
{
	struct agent *agent = context;
	struct problems problems = PROBLEMS_INIT;
	struct error err;
	struct command *command = command_new(delivery->command, &problems, &err);
	if (command == NULL) {
		log_warn("a command that nobody can be answered for is dropped: %s", err.message);
	} else {
		struct command *held = held_find(&agent->held, command->id);
		if (held != NULL) {
			/* Delivered again while it is under way: its answer goes to the newer
			 * delivery. */
			take_receipt(held, delivery);
			if (held->is_stored)
				tell_taken(agent, held);
			command_free(command);
		} else {
			take(agent, command, delivery, &problems);
		}
	}
	problems_release(&problems);
}

static void on_reached(void *context)
{
	struct agent *agent = context;
	if (!agent->was_reached)
		log_info("connected: commands are polled from %s%s", agent->settings->service_url,
			 agent->transport->gathers_posts ? " through its queues" : "");
	agent->was_reached = true;
	source_reached(agent->source);
}

/* What comes of a receive that was under way: it has had a turn to read what was in the socket. Only
 * now the time to drain begins, which may be none at all. */
static void stop_receiving(void *context)
{
	struct agent *agent = context;
	if (agent->state != AGENT_DRAINING)
		return;
	if (agent->transport == NULL || agent->transport->ops->receive_cancel(agent->transport))
		agent->is_polling = false;
	if (!loop_timer_is_running(agent->drain))
		loop_timer_start(agent->drain, agent->settings->drain_seconds * 1000);
	stop_if_drained(agent);
}

static void on_received(void *context, const struct transport_outcome *outcome)
{
	struct agent *agent = context;
	if (agent->state != AGENT_RUNNING) {
		loop_defer(agent->loop, &agent->stop_receiving); /* and its large commands */
		return;
	}
	agent->is_polling = false;
	if (!outcome->is_ok) {
		endpoint_failed(agent->polling, outcome);
		return;
	}
	endpoint_worked(agent->polling);
	poll_soon(agent);
}

static void on_posted(void *context, struct transport_post **posts, size_t count,
		      const struct transport_outcome *outcome)
{
	struct agent *agent = context;
	outbox_on_posted(agent->outbox, posts, count, outcome);
}

static void on_lost(void *context, const char *receipt)
{
	struct agent *agent = context;
	for (struct command *command = held_first(&agent->held); command != NULL;
	     command = held_next(command)) {
		if (command->receipt != NULL && strcmp(command->receipt, receipt) == 0)
			log_warn("command %s: its lease was lost, another agent may get it too",
				 command->id);
	}
}

/* A command has its place: its request starts once that is on disk. */
static void on_execute(void *context, struct command *command)
{
	struct agent *agent = context;
	journal_write(agent->journal, command);
}

static void on_command_end(void *context, struct command *command)
{
	struct agent *agent = context;
	kill_point("after-answer");
	agent->ending++;
	command->is_ended = true;
	journal_write(agent->journal, command);
	poll_soon(agent);
}

static void on_durable(void *context, struct command *command)
{
	struct agent *agent = context;
	tell_taken(agent, command);
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

static void on_room(void *context)
{
	poll_soon(context);
}

static void on_begun_anew(void *context)
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
	tell_taken(agent, again);
	outbox_push(agent->outbox, again);
}

static void on_settled(void *context, struct command *command)
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
	poll_soon(agent);
	stop_if_drained(agent);
}

static void on_kept(void *context, const struct transport_outcome *outcome)
{
	struct agent *agent = context;
	leases_on_kept(agent->leases, outcome);
}

static void on_expire(void *context)
{
	struct agent *agent = context;
	outbox_expire(agent->outbox, agent->settings->result_retention_hours * 3600000);
	loop_timer_start(agent->expire, EXPIRE_MS);
}

static void on_give_back(void *context)
{
	struct agent *agent = context;
	if (held_count(&agent->held) == 0)
		mem_give_back();
}

static void announce(struct agent *agent, const char *status)
{
	agent->announcements++;
	agent->transport->ops->announce(agent->transport, status, NULL, NULL);
}

static void on_announced(void *context, const struct transport_outcome *outcome)
{
	struct agent *agent = context;
	agent->announcements--;
	if (outcome->is_ok)
		endpoint_worked(agent->announcing);
	else
		endpoint_failed(agent->announcing, outcome);
}

static void on_heartbeat(void *context)
{
	struct agent *agent = context;
	if (agent->announcements == 0 && !endpoint_waits(agent->announcing))
		announce(agent, NULL);
	loop_timer_start(agent->heartbeat, HEARTBEAT_MS);
}

static void on_sign_of_life(void *context)
{
	struct agent *agent = context;
	log_info("alive: %llu commands relayed since the start, %zu under way, %zu answers wait",
		 (unsigned long long)agent->settled, relay_count(agent->relay),
		 answers_waiting(agent));
	loop_timer_start(agent->sign_of_life, SIGN_OF_LIFE_MS);
}

static void on_drain_over(void *context)
{
	struct agent *agent = context;
	log_warn("stopped after %lld s with %zu commands under way and %zu answers not posted%s",
		 (long long)agent->settings->drain_seconds, relay_count(agent->relay),
		 answers_waiting(agent),
		 agent->is_polling ? "; what the source was sending has not come to its end" : "");
	agent->state = AGENT_STOPPED;
	loop_stop(agent->loop);
}

static void on_stop_signal(void *context, int signal_number)
{
	struct agent *agent = context;
	if (agent->state != AGENT_RUNNING) {
		log_warn("stopped at once by a second signal");
		agent->state = AGENT_STOPPED;
		agent->exit_code = ERR_BUSY;
		loop_stop(agent->loop);
		return;
	}
	log_info("stopping on signal %d: %zu commands under way, %zu answers wait", signal_number,
		 relay_count(agent->relay), answers_waiting(agent));
	agent->state = AGENT_DRAINING;
	transport_question_cancel(agent->question);
	agent->question = NULL;
	relay_hold(agent->relay); /* what only waits stays in the journal */
	endpoint_stop(agent->polling);
	agent->is_polling = true; /* … until stop_receiving has seen to it */
	loop_next_turn(agent->loop, &agent->stop_receiving);
}

/* A connection each for what is in flight needs descriptors; the soft limit is often 1024. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit); /* then the lower one has to do */
	}
}

/* The source is known: what has waited for it goes there. */
static void agent_begin(struct agent *agent)
{
	for (struct command *command = held_first(&agent->held); command != NULL;
	     command = held_next(command)) {
		if (command->is_stored)
			tell_taken(agent, command);
		if (command->is_ended && (!command->is_unwritten || command->is_rewritten))
			outbox_push(agent->outbox, command);
	}
	on_expire(agent);
	announce(agent, "STARTED");
	loop_timer_start(agent->heartbeat, HEARTBEAT_MS);
	leases_start(agent->leases, agent->transport);
}

static size_t in_flight(void *context)
{
	const struct agent *agent = context;
	return held_count(&agent->held);
}

static int agent_connect(struct agent *agent, enum settings_transport kind,
			 struct json_object *config, struct error *err)
{
	struct transport_events events = {
	    .context = agent,
	    .folder = journal_answers_folder(agent->journal),
	    .on_delivery = on_delivery,
	    .on_received = on_received,
	    .on_posted = on_posted,
	    .on_kept = on_kept,
	    .on_announced = on_announced,
	    .on_reached = on_reached,
	    .on_lost = on_lost,
	    .in_flight = in_flight,
	};
	if (kind == TRANSPORT_TDP)
		agent->transport = transport_tdp_new(agent->loop, agent->client, agent->source,
						     agent->settings, &events, config, err);
	else
		agent->transport = transport_http_new(agent->client, agent->settings, &events, err);
	if (agent->transport == NULL)
		return ERR_SYSTEM;
	source_set_address(agent->source, agent->transport->address);
	agent->outbox = outbox_new(agent->loop, agent->client, agent->source, agent->transport,
				   agent->journal, on_settled, agent);
	return 0;
}

static void on_transport(void *context, enum settings_transport kind, struct json_object *config,
			 const struct transport_outcome *outcome)
{
	struct agent *agent = context;
	struct transport_outcome result = *outcome;
	struct error err;
	agent->question = NULL;
	if (result.is_ok && agent_connect(agent, kind, config, &err) != 0) {
		result.is_ok = false;
		memcpy(result.reason, err.message, sizeof result.reason);
	}
	if (result.is_ok)
		agent_begin(agent);
	on_received(agent, &result);
}

/* TRANSPORT=auto. Counts as polling, and its failures as failed polls. */
static void ask_for_transport(struct agent *agent)
{
	struct error err;
	agent->question = transport_ask(agent->client, agent->settings, on_transport, agent, &err);
	/* The settings' URL was checked when they were read: there is a question. */
	agent->is_polling = agent->question != NULL;
	if (agent->question != NULL)
		source_set_address(agent->source, transport_question_address(agent->question));
}

static int agent_open(struct agent *agent, struct error *err)
{
	const struct settings *settings = agent->settings;
	if ((agent->loop = loop_new(err)) == NULL)
		return ERR_SYSTEM;
	loop_on_stop_signal(agent->loop, on_stop_signal, agent);
	agent->source = source_new(agent->loop);
	agent->polling = endpoint_new(agent->source, "polling for commands", poll_soon, agent);
	agent->leases = leases_new(agent->loop, agent->source, &agent->held);
	agent->announcing = endpoint_new(agent->source, NULL, NULL, NULL);
	agent->client = http_client_new(agent->loop, settings->ca_file,
					(size_t)settings->max_in_flight + 16, err);
	if (agent->client == NULL)
		return ERR_SYSTEM;
	agent->relay = relay_new(agent->loop, agent->client, settings, on_command_end, agent, err);
	if (agent->relay == NULL)
		return ERR_SYSTEM;
	relay_gate(agent->relay, on_execute);
	struct journal_events journal_events = {
	    .context = agent,
	    .on_durable = on_durable,
	    .on_room = on_room,
	    .on_begun_anew = on_begun_anew,
	    .in_flight = in_flight,
	};
	agent->journal = journal_open(agent->loop, settings, &journal_events, err);
	if (agent->journal == NULL)
		return ERR_SYSTEM;
	relay_spool_to(agent->relay, journal_answers_folder(agent->journal));
	agent->poll = (struct loop_task){.run = poll, .context = agent};
	agent->stop_receiving = (struct loop_task){.run = stop_receiving, .context = agent};
	agent->gather = loop_timer_new(agent->loop, on_gathered, agent);
	agent->heartbeat = loop_timer_new(agent->loop, on_heartbeat, agent);
	agent->sign_of_life = loop_timer_new(agent->loop, on_sign_of_life, agent);
	agent->expire = loop_timer_new(agent->loop, on_expire, agent);
	agent->give_back = loop_timer_new(agent->loop, on_give_back, agent);
	agent->drain = loop_timer_new(agent->loop, on_drain_over, agent);
	if (settings->transport == TRANSPORT_AUTO)
		return 0; /* polling begins with the question */
	return agent_connect(agent, (enum settings_transport)settings->transport, NULL, err);
}

static void agent_close(struct agent *agent)
{
	transport_question_cancel(agent->question);
	if (agent->transport != NULL)
		agent->transport->ops->free(agent->transport);
	/* While the commands that are to be written still live. */
	journal_close(agent->journal);
	for (struct command *next, *command = held_first(&agent->held); command != NULL;
	     command = next) {
		next = held_next(command);
		held_remove(&agent->held, command);
		if (command->is_ended && !command->is_outgoing)
			command_free(command); /* nobody else has it */
	}
	relay_free(agent->relay);
	outbox_free(agent->outbox);
	if (agent->loop != NULL) {
		loop_cancel(agent->loop, &agent->poll);
		loop_cancel(agent->loop, &agent->stop_receiving);
	}
	endpoint_free(agent->polling);
	leases_free(agent->leases);
	endpoint_free(agent->announcing);
	source_free(agent->source);
	loop_timer_free(agent->gather);
	loop_timer_free(agent->heartbeat);
	loop_timer_free(agent->sign_of_life);
	loop_timer_free(agent->expire);
	loop_timer_free(agent->give_back);
	loop_timer_free(agent->drain);
	http_client_free(agent->client);
	loop_free(agent->loop);
}

/* A command of an earlier life goes on where that ended. */
static void resume(void *context, const struct journal_row *row)
{
	struct agent *agent = context;
	struct problems problems = PROBLEMS_INIT;
	struct command *command = resume_command(row, &problems);
	held_add(&agent->held, command);
	if (row->state == COMMAND_DONE)
		command->is_ended = true;
	else if (command->state == COMMAND_DONE)
		on_command_end(agent, command);
	else
		relay_take(agent->relay, command, &problems);
	agent->resumed++;
	problems_release(&problems);
}

int agent_run(const struct settings *settings, struct error *err)
{
	struct agent agent = {.settings = settings, .state = AGENT_RUNNING};
	raise_descriptor_limit();
	int rc = agent_open(&agent, err);
	if (rc == 0)
		rc = journal_walk(agent.journal, resume, &agent, err);
	if (rc == 0) {
		log_info("relay-agent %s: agent %s of %s polls %s, V2 %s", VERSION,
			 settings->agent_id, settings->org_slug, settings->service_url,
			 secret_is_set(&settings->key) ? "with a key" : "without a key");
		if (agent.resumed > 0)
			log_info("%zu commands of the journal go on", agent.resumed);
		if (agent.transport != NULL)
			agent_begin(&agent);
		poll_soon(&agent);
		loop_timer_start(agent.sign_of_life, SIGN_OF_LIFE_MS);
		loop_run(agent.loop);
		if (agent.exit_code != 0)
			rc = error_set(err, agent.exit_code, "stopped by a second signal");
	}
	agent_close(&agent);
	return rc;
}
