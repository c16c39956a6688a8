#include "agent/tdp_lane.h"

#include "base/clock.h"

enum {
	BUSY_FROM = 16, /* commands in flight: fewer do not wait for each other */
	GATHER_MAX_MS = 1000,
	RECENT_MS = 2000, /* what ended longer ago says nothing about now */
	UNKNOWN_MS = 50,  /* to gather while nothing is known */
	CALLS_AT_ONCE = 4,
	/* A little more than a batch, since they do not come evenly. */
	GATHERED = SQS_BATCH_MAX + 2,
};

void tdp_pace_command_ended(struct tdp_pace *pace)
{
	pace->ended_ms[pace->next] = clock_monotonic_ms();
	pace->next = (pace->next + 1) % TDP_PACE_SAMPLES;
}

int64_t tdp_pace_gather_ms(const struct tdp_pace *pace)
{
	int64_t now_ms = clock_monotonic_ms();
	int64_t passed_ms = 0;
	int64_t count = 0;
	if (pace->is_hurried || pace->in_flight(pace->context) < BUSY_FROM)
		return 0;
	for (size_t i = 0; i < TDP_PACE_SAMPLES; i++) {
		int64_t ago_ms = now_ms - pace->ended_ms[i];
		if (pace->ended_ms[i] == 0 || ago_ms > RECENT_MS)
			continue;
		count++;
		passed_ms = ago_ms > passed_ms ? ago_ms : passed_ms;
	}
	int64_t time_ms = count > 0 ? passed_ms * GATHERED / count : UNKNOWN_MS;
	return time_ms < GATHER_MAX_MS ? time_ms : GATHER_MAX_MS;
}

static bool may_start(struct tdp_lane *lane)
{
	bool has_batch = lane->waiting >= SQS_BATCH_MAX;
	size_t most = has_batch && !lane->is_failing ? CALLS_AT_ONCE : 1;
	if (!lane->is_open || lane->waiting == 0 || lane->calls >= most ||
	    (lane->endpoint != NULL && endpoint_waits(lane->endpoint)))
		return false;
	int64_t gather_ms = has_batch || lane->pace == NULL ? 0 : tdp_pace_gather_ms(lane->pace);
	int64_t left_ms = lane->since_ms + gather_ms - clock_monotonic_ms();
	if (gather_ms == 0 || left_ms <= 0)
		return true;
	if (!loop_timer_is_running(lane->gather))
		loop_timer_start(lane->gather, left_ms);
	return false;
}

static void flush(void *context)
{
	struct tdp_lane *lane = context;
	while (may_start(lane)) {
		if (!lane->start(lane->context))
			return;
		lane->calls++;
		loop_timer_stop(lane->gather);
	}
}

static void on_time(void *context)
{
	struct tdp_lane *lane = context;
	loop_defer(lane->loop, &lane->flush);
}

void tdp_lane_open(struct tdp_lane *lane, bool is_open)
{
	lane->is_open = is_open;
	loop_defer(lane->loop, &lane->flush);
}

void tdp_lane_add(struct tdp_lane *lane, size_t count)
{
	if (lane->waiting == 0)
		lane->since_ms = clock_monotonic_ms();
	lane->waiting += count;
	loop_defer(lane->loop, &lane->flush);
}

void tdp_lane_took(struct tdp_lane *lane, size_t count)
{
	lane->waiting -= count;
	lane->since_ms = clock_monotonic_ms();
}

void tdp_lane_call_ended(struct tdp_lane *lane, const struct transport_outcome *outcome)
{
	lane->calls--;
	lane->is_failing = !outcome->is_ok;
	if (lane->endpoint != NULL && outcome->is_ok)
		endpoint_worked(lane->endpoint);
	else if (lane->endpoint != NULL)
		endpoint_failed(lane->endpoint, outcome);
	loop_defer(lane->loop, &lane->flush);
}

bool tdp_lane_is_idle(const struct tdp_lane *lane)
{
	return lane->waiting == 0 && lane->calls == 0;
}

void tdp_lane_init(struct tdp_lane *lane, struct loop *loop, const struct tdp_pace *pace,
		   bool (*start)(void *context), void *context)
{
	*lane = (struct tdp_lane){.loop = loop, .pace = pace, .start = start, .context = context};
	lane->flush = (struct loop_task){.run = flush, .context = lane};
	lane->gather = loop_timer_new(loop, on_time, lane);
}

void tdp_lane_set_source(struct tdp_lane *lane, struct source *source, const char *what)
{
	lane->endpoint = endpoint_new(source, what, on_time, lane);
}

void tdp_lane_release(struct tdp_lane *lane)
{
	loop_cancel(lane->loop, &lane->flush);
	loop_timer_free(lane->gather);
	endpoint_free(lane->endpoint);
}
