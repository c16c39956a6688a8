#include "agent/agent_inside.h"

#include "base/log.h"
#include "base/mem.h"

#include <string.h>
#include <sys/resource.h>

enum {
	HEARTBEAT_MS = 30000,
	SIGN_OF_LIFE_MS = 3600000, /* one log line an hour */
	EXPIRE_MS = 60000,         /* how often answers that nobody took are looked through */
};

static void say_goodbye(void *context)
{
	struct agent *agent = context;
	log_info("stopped: %llu commands were relayed", (unsigned long long)agent->settled);
	loop_stop(agent->loop);
}

size_t agent_answers_waiting(const struct agent *agent)
{
	return agent->outbox != NULL ? outbox_count(agent->outbox) : 0;
}

void agent_stop_if_drained(struct agent *agent)
{
	if (agent->state != AGENT_DRAINING || agent->is_polling || agent->ending > 0 ||
	    relay_running(agent->relay) > 0 || agent_answers_waiting(agent) > 0 ||
	    journal_is_busy(agent->journal)) /* then the source may forget what it gave */
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

static void on_lost(void *context, const char *receipt)
{
	struct agent *agent = context;
	leases_on_lost(agent->leases, receipt);
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
		 agent_answers_waiting(agent));
	loop_timer_start(agent->sign_of_life, SIGN_OF_LIFE_MS);
}

static void on_quiet(void *context)
{
	agent_stop_if_drained(context);
}

static void on_drain_over(void *context)
{
	struct agent *agent = context;
	log_warn("stopped after %lld s with %zu commands under way and %zu answers not posted%s",
		 (long long)agent->settings->drain_seconds, relay_count(agent->relay),
		 agent_answers_waiting(agent),
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
		 relay_count(agent->relay), agent_answers_waiting(agent));
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
			agent_tell_taken(agent, command);
		if (command->is_ended && (!command->is_unwritten || command->is_rewritten))
			outbox_push(agent->outbox, command);
	}
	on_expire(agent);
	announce(agent, "STARTED");
	loop_timer_start(agent->heartbeat, HEARTBEAT_MS);
	leases_start(agent->leases, agent->transport);
}

static int agent_connect(struct agent *agent, enum settings_transport kind,
			 struct json_object *config, struct error *err)
{
	struct transport_events events = {
	    .context = agent,
	    .folder = journal_answers_folder(agent->journal),
	    .on_delivery = agent_on_delivery,
	    .on_received = agent_on_received,
	    .on_posted = agent_on_posted,
	    .on_kept = on_kept,
	    .on_announced = on_announced,
	    .on_reached = agent_on_reached,
	    .on_lost = on_lost,
	    .in_flight = agent_in_flight,
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
				   agent->journal, agent_on_settled, agent);
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
	agent_on_received(agent, &result);
}

void agent_ask_for_transport(struct agent *agent)
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
	agent->polling =
	    endpoint_new(agent->source, "polling for commands", agent_poll_soon, agent);
	agent->leases = leases_new(agent->loop, agent->source, &agent->held);
	agent->announcing = endpoint_new(agent->source, NULL, NULL, NULL);
	agent->client = http_client_new(agent->loop, settings->ca_file,
					(size_t)settings->max_in_flight + 16, err);
	if (agent->client == NULL)
		return ERR_SYSTEM;
	agent->relay =
	    relay_new(agent->loop, agent->client, settings, agent_on_command_end, agent, err);
	if (agent->relay == NULL)
		return ERR_SYSTEM;
	relay_gate(agent->relay, agent_on_execute);
	struct journal_events journal_events = {
	    .context = agent,
	    .on_durable = agent_on_durable,
	    .on_room = agent_poll_soon,
	    .on_begun_anew = agent_on_begun_anew,
	    .on_quiet = on_quiet,
	    .in_flight = agent_in_flight,
	    .under_way = agent_under_way,
	};
	agent->journal = journal_open(agent->loop, settings, &journal_events, err);
	if (agent->journal == NULL)
		return ERR_SYSTEM;
	relay_spool_to(agent->relay, journal_answers_folder(agent->journal));
	agent->poll = (struct loop_task){.run = agent_poll, .context = agent};
	agent->stop_receiving = (struct loop_task){.run = agent_stop_receiving, .context = agent};
	agent->gather = loop_timer_new(agent->loop, agent_on_gathered, agent);
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

int agent_run(const struct settings *settings, struct error *err)
{
	struct agent agent = {.settings = settings, .state = AGENT_RUNNING};
	raise_descriptor_limit();
	int rc = agent_open(&agent, err);
	if (rc == 0)
		rc = journal_walk(agent.journal, agent_resume, &agent, err);
	if (rc == 0) {
		log_info("relay-agent %s: agent %s of %s polls %s, V2 %s", VERSION,
			 settings->agent_id, settings->org_slug, settings->service_url,
			 secret_is_set(&settings->key) ? "with a key" : "without a key");
		if (agent.resumed > 0)
			log_info("%zu commands of the journal go on", agent.resumed);
		if (agent.transport != NULL)
			agent_begin(&agent);
		agent_poll_soon(&agent);
		loop_timer_start(agent.sign_of_life, SIGN_OF_LIFE_MS);
		loop_run(agent.loop);
		if (agent.exit_code != 0)
			rc = error_set(err, agent.exit_code, "stopped by a second signal");
	}
	agent_close(&agent);
	return rc;
}
