#include "service/listen.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

Test(service_listen, reads_addresses_of_both_kinds)
{
	struct listen_address address;
	cr_assert_eq(listen_parse("127.0.0.1:8080", &address, NULL), 0);
	cr_assert_eq(address.socket.any.sa_family, AF_INET);
	cr_assert_eq(ntohs(address.socket.v4.sin_port), 8080);
	cr_assert_eq(ntohl(address.socket.v4.sin_addr.s_addr), 0x7F000001);
	cr_assert_eq(listen_parse("[::1]:0", &address, NULL), 0);
	cr_assert_eq(address.socket.any.sa_family, AF_INET6);
	cr_assert_eq(address.socket.v6.sin6_port, 0);
	cr_assert_eq(listen_parse("localhost:65535", &address, NULL), 0);
	cr_assert_eq(ntohs(address.socket.v4.sin_port), 65535);
}

Test(service_listen, says_what_would_be_right)
{
	static const char *const wrong[] = {
	    "",
	    "8080",
	    ":8080",
	    "127.0.0.1",
	    "127.0.0.1:",
	    "127.0.0.1:x",
	    "127.0.0.1:65536",
	    "a:1",
	    "[::1",
	    "[::1]80",
	    "1.2.3:80",
	    "127.0.0.1:-1",
	    "127.0.0.1:8 ",
	};
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		struct listen_address address;
		struct error err;
		cr_assert_eq(listen_parse(wrong[i], &address, &err), ERR_INVALID, "%s", wrong[i]);
		cr_assert(strstr(err.message, "127.0.0.1:8080"));
	}
}

Test(service_listen, says_that_an_address_is_in_use_and_what_to_do)
{
	int first = -1, second = -1;
	uint16_t port = 0, unused = 0;
	struct error err;
	char text[32];
	cr_assert_eq(listen_open("127.0.0.1:0", &first, &port, &err), 0);
	cr_assert_gt(port, 0);
	snprintf(text, sizeof text, "127.0.0.1:%u", (unsigned)port);
	cr_assert_eq(listen_open(text, &second, &unused, &err), ERR_BUSY);
	cr_assert(strstr(err.message, "in use"));
	cr_assert(strstr(err.message, "--listen"));
	cr_assert_eq(second, -1);
	close(first);
}
