// SPDX-License-Identifier: Apache-2.0
#include "cli/io/async_commands.h"

#include "cli/io/payload.h"
#include "cli/io/report.h"
#include "cli/io/request.h"
#include "cli/io/request_options.h"
#include "cli/messages.h"

namespace byre::cli::io {
namespace {

// A request with everything that it needs until it has ended, as nothing else refers to it.
struct AsyncRequest {
  Session* session = nullptr;
  RequestOptions options;
  uint64_t offset = 0;
  std::vector<uint64_t> lengths;
  Buffer buffer;
  Loop::Clock::time_point start;

  uint64_t length() const { return total_of(lengths); }
  ReadBuffers memory() { return segments_of(buffer.bytes(), lengths); }
  BlockDevice& device() const { return session->device(); }
};

void tell_failure(const Session& session, const char* what, const Error& error) {
  const Refusal failure = failure_of(what, error);
  print(failure.text + "\n");
  if (!session.invocation().as_qemu() && !failure.hint.empty()) print(failure.hint + "\n");
}

void tell(const AsyncRequest& request, const char* verb, std::chrono::nanoseconds duration) {
  print(report_text({verb, duration, request.offset, request.length()}, request.options.style));
}

// The output of a request comes from the loop, never from the command that started it.
Task<void> read_beside(AsyncRequest request) {
  std::optional<Error> failure;
  const ReadBuffers to = request.memory();
  try {
    co_await checked_read(request.device(), request.offset, to);
  } catch (const Error& error) {
    failure = error;
  }
  co_await Loop::current().yield();
  if (failure.has_value()) {
    // The name is QEMU's.
    tell_failure(*request.session, "readv", *failure);
    co_return;
  }
  const auto duration = Loop::Clock::now() - request.start;
  const ConstBytes bytes = request.buffer.bytes(0, request.length());
  if (request.options.pattern.has_value() && !is_all(bytes, *request.options.pattern)) {
    print(pattern_failure(request.offset, bytes.size()));
  }
  if (request.options.style.quiet) co_return;
  if (request.options.dump) print(dump_text(bytes, request.offset));
  tell(request, "read", duration);
}

Task<void> write_beside(AsyncRequest request) {
  std::optional<Error> failure;
  const WriteBuffers from = request.memory();
  const uint64_t length = request.length();
  try {
    if (request.options.zeroes) {
      co_await checked_zeroes(request.device(), request.offset, length, request.options.flags);
    } else {
      co_await checked_write(request.device(), request.offset, from, request.options.flags);
    }
  } catch (const Error& error) {
    failure = error;
  }
  co_await Loop::current().yield();
  if (failure.has_value()) {
    tell_failure(*request.session, "aio_write", *failure);
    co_return;
  }
  tell(request, "wrote", Loop::Clock::now() - request.start);
}

AsyncRequest request_of(Session& session, CommandLine& line, const char* letters) {
  AsyncRequest request;
  request.session = &session;
  while (const std::optional<char> option = line.next_option(letters)) {
    take_request_option(request.options, *option, line);
  }
  return request;
}

void take_range(AsyncRequest& request, const CommandLine& line) {
  const std::vector<std::string>& operands = line.operands();
  request.offset = static_cast<uint64_t>(parse_offset(operands[0]));
  if (request.options.zeroes) {
    request.lengths = {static_cast<uint64_t>(parse_offset(operands[1]))};
  } else {
    request.lengths = parse_lengths({operands.begin() + 1, operands.end()});
  }
}

}  // namespace

void run_aio_read(Session& session, CommandLine& line) {
  AsyncRequest request = request_of(session, line, "CP:iqrv");
  // QEMU counts it in the statistics of its device, which byre does not have.
  if (request.options.invalid) {
    print("injecting invalid read request\n");
    return;
  }
  if (line.operands().size() < 2) throw UsageRequest{};
  take_range(request, line);
  request.buffer = make_buffer(request.length());
  request.start = Loop::Clock::now();
  session.start(read_beside(std::move(request)));
}

void run_aio_write(Session& session, CommandLine& line) {
  AsyncRequest request = request_of(session, line, "CfiP:qruz");
  if (request.options.invalid) {
    print("injecting invalid write request\n");
    return;
  }
  if (line.operands().size() < 2) throw UsageRequest{};
  if (request.options.zeroes && line.operands().size() != 2) {
    throw Refusal{"-z supports only a single length parameter"};
  }
  check_unmap(request.options);
  check_registered(request.options);
  take_range(request, line);
  if (!request.options.zeroes) {
    request.buffer =
        pattern_payload(request.length(), request.options.pattern.value_or(kDefaultPattern));
  }
  request.start = Loop::Clock::now();
  session.start(write_beside(std::move(request)));
}

void run_aio_flush(Session& session, CommandLine&) {
  session.wait_for_requests();
}

}  // namespace byre::cli::io
