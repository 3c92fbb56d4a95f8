// Loaded into a Node program that asks its maker's service at every start and has no switch for it: no name is found.
const dns = require("node:dns");
const { isIP } = require("node:net");

const { lookup } = dns;
dns.lookup = (name, options, callback) => {
  if (name === "localhost" || isIP(name)) return lookup(name, options, callback);
  const error = Object.assign(new Error(`${name} is not looked up in a test`), { code: "ENOTFOUND" });
  process.nextTick(callback ?? options, error);
};
