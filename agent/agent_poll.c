#include "agent/agent_inside.h"

#include "agent/limits.h"
#include "base/log.h"

enum { GATHER_MS = 1000 }; /* how long a receive waits for room to be worth its call */

/* Answers that wait count as well: a source that gives and does not take must not fill us. */
static bool has_room(const struct agent *agent)
{
	return journal_has_room(agent->journal) &&
	       agent_answers_waiting(agent) < LIMIT_HELD_COMMANDS;
}

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

void agent_poll(void *context)
{
	struct agent *agent = context;
	size_t room = relay_room(agent->relay);
	if (agent->state != AGENT_RUNNING || agent->is_polling || endpoint_waits(agent->polling))
		return;
	if (agent->transport == NULL) { /* also without room: it is what the answers wait for */
		agent_ask_for_transport(agent);
		return;
	}
	if (room == 0 || !has_room(agent) || waits_for_room(agent, room))
		return;
	agent->has_gathered = false;
	agent->is_polling = true;
	agent->transport->ops->receive(agent->transport, room);
}

void agent_poll_soon(void *context)
{
	struct agent *agent = context;
	loop_next_turn(agent->loop, &agent->poll);
}

void agent_on_gathered(void *context)
{
	struct agent *agent = context;
	agent->has_gathered = true;
	agent_poll_soon(agent);
}

void agent_on_reached(void *context)
{
	struct agent *agent = context;
	if (!agent->was_reached)
		log_info("connected: commands are polled from %s%s", agent->settings->service_url,
			 agent->transport->gathers_posts ? " through its queues" : "");
	agent->was_reached = true;
	source_reached(agent->source);
}

void agent_stop_receiving(void *context)
{
	struct agent *agent = context;
	if (agent->state != AGENT_DRAINING)
		return;
	if (agent->transport == NULL || agent->transport->ops->receive_cancel(agent->transport))
		agent->is_polling = false;
	if (!loop_timer_is_running(agent->drain))
		loop_timer_start(agent->drain, agent->settings->drain_seconds * 1000);
	agent_stop_if_drained(agent);
}

void agent_on_received(void *context, const struct transport_outcome *outcome)
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
	agent_poll_soon(agent);
}
