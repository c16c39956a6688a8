/* Moments at which something must happen: the end of a long poll, of a delay, of a lease.
 * One libuv timer serves all of them. Setting and cancelling cost nothing much; the timer
 * looks through them when one is due. */
#ifndef SERVICE_ALARM_H
#define SERVICE_ALARM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

struct alarm_entry {
	LIST_ENTRY(alarm_entry) link;
	int64_t at_ms; /* monotonic; 0: not set */
	void (*on_due)(struct alarm_entry *alarm);
};

struct alarms {
	LIST_HEAD(alarm_list, alarm_entry) list;
	uv_timer_t timer;
	int64_t timer_ms;                /* when the timer fires; 0: it does not run */
	void (*on_fired)(void *context); /* after those that were due */
	void *context;
};

/* The owner closes alarms->timer with uv_close() in the end. */
void alarms_init(struct alarms *alarms, uv_loop_t *loop, void (*on_fired)(void *context),
		 void *context);
/* A zeroed entry is one that is not set. Setting it again moves it. */
void alarm_set(struct alarms *alarms, struct alarm_entry *entry, int64_t at_ms,
	       void (*on_due)(struct alarm_entry *entry));
void alarm_cancel(struct alarm_entry *entry);

#endif
