// The emulator listens on every interface and takes any token; keep it on this machine.
const net = require("node:net");
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (port, ...rest) {
  if (typeof port === "number") {
    const done = rest.find((item) => typeof item === "function");
    return listen.call(this, { port, host: "127.0.0.1" }, done);
  }
  if (port !== null && typeof port === "object" && !port.path) {
    return listen.call(this, { ...port, host: "127.0.0.1" }, ...rest);
  }
  return listen.call(this, port, ...rest);
};
