#include "service/alarm.h"

#include "base/clock.h"

/* Alarms due within this time are served together. */
enum { COALESCE_MS = 10 };

static void start(struct alarms *alarms, int64_t at_ms);

/* Due ones are taken out first: what they do may set or cancel others. */
static void on_timer(uv_timer_t *timer)
{
	struct alarms *alarms = timer->data;
	struct alarm_list due = LIST_HEAD_INITIALIZER(due);
	int64_t now_ms = clock_monotonic_ms();
	int64_t next_ms = 0;
	struct alarm_entry *entry = LIST_FIRST(&alarms->list);
	alarms->timer_ms = 0;
	while (entry) {
		struct alarm_entry *following = LIST_NEXT(entry, link);
		if (entry->at_ms <= now_ms + COALESCE_MS) {
			LIST_REMOVE(entry, link);
			LIST_INSERT_HEAD(&due, entry, link);
		} else if (next_ms == 0 || entry->at_ms < next_ms) {
			next_ms = entry->at_ms;
		}
		entry = following;
	}
	if (next_ms > 0)
		start(alarms, next_ms);
	while ((entry = LIST_FIRST(&due))) {
		alarm_cancel(entry);
		entry->on_due(entry);
	}
	alarms->on_fired(alarms->context);
}

static void start(struct alarms *alarms, int64_t at_ms)
{
	int64_t in_ms = at_ms - clock_monotonic_ms();
	uv_update_time(alarms->timer.loop); /* what ran until now took its time */
	(void)uv_timer_start(&alarms->timer, on_timer, in_ms > 0 ? (uint64_t)in_ms : 0,
			     0); /* fails only while closing */
	alarms->timer_ms = at_ms;
}

void alarms_init(struct alarms *alarms, uv_loop_t *loop, void (*on_fired)(void *context),
		 void *context)
{
	*alarms = (struct alarms){.on_fired = on_fired, .context = context};
	LIST_INIT(&alarms->list);
	(void)uv_timer_init(loop, &alarms->timer); /* always 0 */
	alarms->timer.data = alarms;
}

void alarm_set(struct alarms *alarms, struct alarm_entry *entry, int64_t at_ms,
	       void (*on_due)(struct alarm_entry *entry))
{
	alarm_cancel(entry);
	entry->at_ms = at_ms > 0 ? at_ms : 1;
	entry->on_due = on_due;
	LIST_INSERT_HEAD(&alarms->list, entry, link);
	if (alarms->timer_ms == 0 || at_ms < alarms->timer_ms)
		start(alarms, at_ms);
}

void alarm_cancel(struct alarm_entry *entry)
{
	if (entry->at_ms == 0)
		return;
	LIST_REMOVE(entry, link);
	entry->at_ms = 0;
}
