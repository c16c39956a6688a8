#include "tests/bench/multi.h"

#include "tests/bench/say.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { EVENTS_MAX = 64, CONNECTIONS_MAX = 1024 };

void multi_check(CURLcode code)
{
	if (code != CURLE_OK)
		die("libcurl: %s", curl_easy_strerror(code));
}

static void check(CURLMcode code)
{
	if (code != CURLM_OK)
		die("libcurl: %s", curl_multi_strerror(code));
}

static int on_timer(CURLM *curl, long timeout_ms, void *context)
{
	(void)curl;
	struct multi *multi = context;
	multi->due_us = timeout_ms < 0 ? -1 : now_us() + timeout_ms * 1000;
	return 0;
}

static int on_socket(CURL *easy, curl_socket_t socket, int what, void *context, void *known)
{
	(void)easy;
	struct multi *multi = context;
	struct epoll_event event = {.events = (what & CURL_POLL_IN ? (uint32_t)EPOLLIN : 0) |
					      (what & CURL_POLL_OUT ? (uint32_t)EPOLLOUT : 0),
				    .data.fd = socket};
	int how = what == CURL_POLL_REMOVE ? EPOLL_CTL_DEL
		  : known == NULL          ? EPOLL_CTL_ADD
					   : EPOLL_CTL_MOD;
	if (epoll_ctl(multi->epoll, how, socket, &event) != 0)
		die("cannot watch a socket: %s", strerror(errno));
	check(curl_multi_assign(multi->curl, socket, what == CURL_POLL_REMOVE ? NULL : multi));
	return 0;
}

void multi_init(struct multi *multi)
{
	multi_check(curl_global_init(CURL_GLOBAL_DEFAULT));
	multi->due_us = multi->wake = -1;
	multi->epoll = epoll_create1(EPOLL_CLOEXEC);
	multi->curl = curl_multi_init();
	if (multi->epoll < 0 || multi->curl == NULL)
		die("cannot start libcurl");
	check(curl_multi_setopt(multi->curl, CURLMOPT_SOCKETFUNCTION, on_socket));
	check(curl_multi_setopt(multi->curl, CURLMOPT_SOCKETDATA, multi));
	check(curl_multi_setopt(multi->curl, CURLMOPT_TIMERFUNCTION, on_timer));
	check(curl_multi_setopt(multi->curl, CURLMOPT_TIMERDATA, multi));
	check(curl_multi_setopt(multi->curl, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_MAX));
}

void multi_release(struct multi *multi)
{
	curl_multi_cleanup(multi->curl);
	close(multi->epoll);
	curl_global_cleanup();
}

void multi_watch(struct multi *multi, int descriptor)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = descriptor};
	multi->wake = descriptor;
	if (epoll_ctl(multi->epoll, EPOLL_CTL_ADD, descriptor, &event) != 0)
		die("cannot watch a descriptor: %s", strerror(errno));
}

void multi_add(struct multi *multi, CURL *easy)
{
	check(curl_multi_add_handle(multi->curl, easy));
}

static void hand_out(struct multi *multi)
{
	int queued;
	for (CURLMsg *message; (message = curl_multi_info_read(multi->curl, &queued)) != NULL;) {
		CURL *easy = message->easy_handle;
		CURLcode code = message->data.result;
		check(curl_multi_remove_handle(multi->curl, easy));
		multi->on_done(multi->context, easy, code);
	}
}

static int wait_ms(const struct multi *multi)
{
	if (multi->due_us < 0)
		return -1;
	int64_t left_us = multi->due_us - now_us();
	return left_us <= 0 ? 0 : (int)((left_us + 999) / 1000);
}

/* Transfers that were just added begin at once; the wait comes when nothing is due. */
static void run_due(struct multi *multi)
{
	int running;
	while (multi->due_us >= 0 && multi->due_us <= now_us()) {
		multi->due_us = -1;
		check(curl_multi_socket_action(multi->curl, CURL_SOCKET_TIMEOUT, 0, &running));
	}
}

static int action_of(uint32_t events)
{
	return (events & (EPOLLIN | EPOLLHUP) ? CURL_CSELECT_IN : 0) |
	       (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
	       (events & EPOLLERR ? CURL_CSELECT_ERR : 0);
}

static int wait(struct multi *multi, struct epoll_event *events)
{
	if (multi->on_idle != NULL) {
		int count = epoll_wait(multi->epoll, events, EVENTS_MAX, 0);
		if (count > 0)
			return count;
		multi->on_idle(multi->context);
	}
	return epoll_wait(multi->epoll, events, EVENTS_MAX, wait_ms(multi));
}

static void act(struct multi *multi, const struct epoll_event *event)
{
	int running;
	if (event->data.fd == multi->wake)
		multi->on_wake(multi->context);
	else
		check(curl_multi_socket_action(multi->curl, event->data.fd,
					       action_of(event->events), &running));
}

void multi_run(struct multi *multi)
{
	struct epoll_event events[EVENTS_MAX];
	while (!multi->is_over) {
		run_due(multi);
		hand_out(multi);
		int count = wait(multi, events);
		for (int i = 0; i < count; i++)
			act(multi, &events[i]);
		hand_out(multi);
	}
}
