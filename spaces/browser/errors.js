/** An error whose message is meant for the visitor. */
export class UserError extends Error {}
