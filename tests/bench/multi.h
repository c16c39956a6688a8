/* libcurl's multi interface on epoll and nothing else: the loop of `limit` and `floor`, which
 * show what the agent's libraries cost at least. */
#ifndef BENCH_MULTI_H
#define BENCH_MULTI_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>

struct multi {
	CURLM *curl;
	int epoll;
	int64_t due_us; /* when curl wants to be called, -1: never */
	bool is_over;   /* set it to end multi_run() */
	/* A transfer has ended; its handle is the receiver's again. */
	void (*on_done)(void *context, CURL *easy, CURLcode code);
	void *context;
	/* Another descriptor can be read; and before a wait that is not known to end at once. Both
	 * may be NULL. */
	void (*on_wake)(void *context);
	void (*on_idle)(void *context);
	int wake;
};

void multi_init(struct multi *multi);
void multi_release(struct multi *multi);
/* From now on on_wake is called for this descriptor. */
void multi_watch(struct multi *multi, int descriptor);
/* Starts the transfer of a handle. */
void multi_add(struct multi *multi, CURL *easy);
void multi_run(struct multi *multi);
/* Ends the process when an option was refused. */
void multi_check(CURLcode code);

#endif
