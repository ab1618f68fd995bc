(** # From KL to a lower bound

The chapter *From KL to a lower bound*: the variational lemma, its form with side information, and
its two instances, Donsker-Varadhan and Nguyen-Wainwright-Jordan. *)
From MLCPC Require Export mutual_information.
Open Scope R_scope.

(** ## The variational lemma *)

Section Variational.
Context {A : Type}.
Variables (l : list A) (p q : A -> R).
Hypothesis p_nonneg : forall a, 0 <= p a.
Hypothesis q_nonneg : forall a, 0 <= q a.
Hypothesis p_sum : sum l p = 1.
Hypothesis no_cell_without_q : forall a, In a l -> q a = 0 -> p a = 0.

(** The lemma with any number [Z] that is at least the mean of [e^T]. *)
Lemma variational_raw (T : A -> R) Z : 0 < Z -> ∑ a ∈ l, q a * exp (T a) <= Z ->
  sum l (fun a => p a * T a) - ln Z <= KL l p q.
Proof.
  intros HZ HqZ. unfold KL.
  assert (H : sum l (fun a => p a - / Z * (q a * exp (T a)))
       <= sum l (fun a => (p a * ln (p a / q a) - p a * T a) + p a * ln Z)).
  { apply sum_le; intros a Ha.
    destruct (p_nonneg a) as [Hp|Hp].
    - assert (Hq : 0 < q a).
      { destruct (q_nonneg a) as [Hq|Hq]; [exact Hq|].
        rewrite (no_cell_without_q a Ha) in Hp; [lra|symmetry; exact Hq]. }
      pose proof (exp_pos (T a)) as He.
      pose proof (ln_le_sub1 (q a * exp (T a) / (Z * p a))) as Hl.
      assert (H0 : 0 < q a * exp (T a) / (Z * p a))
        by (apply Rdiv_lt_0_compat; apply Rmult_lt_0_compat; assumption).
      specialize (Hl H0).
      rewrite ln_div', !ln_mult, ln_exp in Hl
        by (try assumption; apply Rmult_lt_0_compat; assumption).
      rewrite ln_div' by assumption.
      apply Rmult_le_compat_l with (r := p a) in Hl; [|lra].
      replace (p a * (q a * exp (T a) / (Z * p a) - 1))
        with (/ Z * (q a * exp (T a)) - p a) in Hl by (field; lra).
      lra.
    - rewrite <- Hp. assert (0 <= / Z * (q a * exp (T a))); [|lra].
      apply Rmult_le_pos; [left; apply Rinv_0_lt_compat, HZ|].
      apply Rmult_le_pos; [apply q_nonneg|left; apply exp_pos]. }
  rewrite sum_minus, sum_scal, sum_plus, sum_minus, sum_scal_r, p_sum in H.
  assert (/ Z * sum l (fun a => q a * exp (T a)) <= 1).
  { apply Rmult_le_reg_l with Z; [exact HZ|].
    rewrite <- Rmult_assoc, Rinv_r by lra. lra. }
  lra.
Qed.

Lemma mean_exp_pos (T : A -> R) : 0 < ∑ a ∈ l, q a * exp (T a).
Proof.
  assert (Hn : forall a, In a l -> 0 <= q a * exp (T a))
    by (intros; apply Rmult_le_pos; [apply q_nonneg|left; apply exp_pos]).
  destruct (sum_nonneg l _ Hn) as [H|H]; [exact H|exfalso].
  assert (sum l p = 0); [|lra].
  rewrite <- (sum_0 l). apply sum_ext; intros a Ha. apply no_cell_without_q; [exact Ha|].
  pose proof (sum_nonneg_0 l _ Hn (eq_sym H) a Ha) as H0. simpl in H0.
  apply Rmult_integral in H0. destruct H0 as [H0|H0]; [exact H0|].
  pose proof (exp_pos (T a)); lra.
Qed.

(** `lem-variational` *)
Theorem variational (T : A -> R) :
  ∑ a ∈ l, p a * T a - ln (∑ a ∈ l, q a * exp (T a)) <= KL l p q.
Proof. apply variational_raw; [apply mean_exp_pos|lra]. Qed.

Corollary variational_le1 (T : A -> R) : ∑ a ∈ l, q a * exp (T a) <= 1 ->
  ∑ a ∈ l, p a * T a <= KL l p q.
Proof.
  intros H. pose proof (variational_raw T 1 Rlt_0_1 H) as H1. rewrite ln_1 in H1; lra.
Qed.

(** `lem-variational`: the logarithm of the ratio, plus a constant, reaches the divergence. *)
Theorem variational_best c : (forall a, In a l -> 0 < p a) -> sum l q = 1 ->
  ∑ a ∈ l, p a * (ln (p a / q a) + c) - ln (∑ a ∈ l, q a * exp (ln (p a / q a) + c)) = KL l p q.
Proof.
  intros Hp q_sum.
  assert (Hq : forall a, In a l -> 0 < q a).
  { intros a Ha. destruct (q_nonneg a) as [Hq|Hq]; [exact Hq|].
    pose proof (Hp a Ha). rewrite (no_cell_without_q a Ha (eq_sym Hq)) in *. lra. }
  rewrite (sum_ext l (fun a => q a * exp (ln (p a / q a) + c)) (fun a => p a * exp c)).
  2:{ intros a Ha. specialize (Hp a Ha). specialize (Hq a Ha).
      rewrite exp_plus, exp_ln by (apply Rdiv_lt_0_compat; assumption). field. lra. }
  rewrite (sum_ext l (fun a => p a * (ln (p a / q a) + c))
    (fun a => p a * ln (p a / q a) + p a * c)) by (intros; ring).
  rewrite sum_plus, !sum_scal_r, p_sum, !Rmult_1_l, ln_exp. unfold KL. lra.
Qed.

(** ## Other samples may help to choose the function *)

(** `cor-conditional`: [C] is drawn from the law [(cs, v)] and knows nothing about the pair. *)
Theorem conditional {C} (cs : list C) (v : C -> R) (T : A -> C -> R) :
  (forall c, 0 <= v c) -> sum cs v = 1 ->
  let Z c := ∑ a ∈ l, q a * exp (T a c) in
  ∑ c ∈ cs, v c * (∑ a ∈ l, p a * T a c) - ln (∑ c ∈ cs, v c * Z c)
    <= ∑ c ∈ cs, v c * (∑ a ∈ l, p a * T a c - ln (Z c)) /\
  ∑ c ∈ cs, v c * (∑ a ∈ l, p a * T a c - ln (Z c)) <= KL l p q.
Proof.
  intros Hv H1 Z. split.
  - rewrite (sum_ext cs (fun c => v c * (∑ a ∈ l, p a * T a c - ln (Z c)))
      (fun c => v c * (∑ a ∈ l, p a * T a c) - v c * ln (Z c))) by (intros; ring).
    rewrite sum_minus. assert (∑ c ∈ cs, v c * ln (Z c) <= ln (∑ c ∈ cs, v c * Z c)); [|lra].
    rewrite <- (ln_exp (∑ c ∈ cs, v c * ln (Z c))). apply ln_le'; [apply exp_pos|].
    eapply Rle_trans; [apply exp_jensen; [intros; apply Hv|exact H1]|].
    right. apply sum_ext; intros c _. rewrite exp_ln by apply mean_exp_pos. reflexivity.
  - rewrite <- (Rmult_1_l (KL l p q)), <- H1, <- sum_scal_r. apply sum_le; intros c _.
    apply Rmult_le_compat_l; [apply Hv|]. apply (variational (fun a => T a c)).
Qed.
End Variational.

Section Table.
Context {X Y : Type}.
Variables (xs : list X) (ys : list Y) (p : X -> Y -> R).
Notation cells := (cells xs ys).
Notation P := (P p).
Notation Q := (Q xs ys p).

(** ## Two instances *)

(** `prp-dv` and `prp-nwj`: the two bounds of a score [f]. *)
Definition DV (f : X * Y -> R) : R :=
  ∑ z ∈ cells, P z * f z - ln (∑ z ∈ cells, Q z * exp (f z)).
Definition NWJ (f : X * Y -> R) : R :=
  ∑ z ∈ cells, P z * f z - / exp 1 * (∑ z ∈ cells, Q z * exp (f z)).

(** `prp-batch`: the same with means over a batch of [N] negatives in place of expectations. *)
Definition DV_batch (N : nat) (f : X * Y -> R) : R :=
  ∑ z ∈ cells, P z * f z - E cells Q N (fun t => ln (/ INR N * (∑ z ∈ t, exp (f z)))).
Definition NWJ_batch (N : nat) (f : X * Y -> R) : R :=
  ∑ z ∈ cells, P z * f z - / exp 1 * E cells Q N (fun t => / INR N * (∑ z ∈ t, exp (f z))).

Hypothesis p_table : table xs ys p.

Theorem DV_valid f : DV f <= I xs ys p.
Proof.
  rewrite I_KL. apply variational.
  - apply P_nonneg with xs ys; exact p_table.
  - apply Q_nonneg; exact p_table.
  - apply P_sum; exact p_table.
  - apply no_P_without_Q; exact p_table.
Qed.

(** The form that every contrastive bound uses: a function whose [e^T] has mean at most 1 under Q. *)
Lemma variational_table (T : X * Y -> R) : ∑ z ∈ cells, Q z * exp (T z) <= 1 ->
  ∑ z ∈ cells, P z * T z <= I xs ys p.
Proof.
  rewrite I_KL. apply variational_le1.
  - apply P_nonneg with xs ys; exact p_table.
  - apply Q_nonneg; exact p_table.
  - apply P_sum; exact p_table.
  - apply no_P_without_Q; exact p_table.
Qed.

Lemma mean_Q_exp_pos (f : X * Y -> R) : 0 < ∑ z ∈ cells, Q z * exp (f z).
Proof.
  apply (mean_exp_pos cells P Q).
  - apply Q_nonneg; exact p_table.
  - apply P_sum; exact p_table.
  - apply no_P_without_Q; exact p_table.
Qed.

Theorem NWJ_le_DV f : NWJ f <= DV f.
Proof.
  unfold NWJ, DV. set (z := ∑ z ∈ cells, Q z * exp (f z)).
  assert (Hz : 0 < z) by apply mean_Q_exp_pos.
  assert (ln z <= / exp 1 * z); [|lra]. pose proof (exp_pos 1) as He.
  pose proof (ln_le_sub1 (z / exp 1) ltac:(apply Rdiv_lt_0_compat; assumption)) as Hl.
  rewrite ln_div', ln_exp in Hl by assumption. unfold Rdiv in Hl. lra.
Qed.

Theorem NWJ_valid f : NWJ f <= I xs ys p.
Proof. eapply Rle_trans; [apply NWJ_le_DV|apply DV_valid]. Qed.

(** `prp-dv`: the log ratio reaches I. *)
Theorem DV_best c : (forall x y, In x xs -> In y ys -> 0 < p x y) ->
  DV (fun z => ln (P z / Q z) + c) = I xs ys p.
Proof.
  intros Hp. rewrite I_KL. apply variational_best.
  - apply Q_nonneg; exact p_table.
  - apply P_sum; exact p_table.
  - apply no_P_without_Q; exact p_table.
  - intros [x y] Hz. apply in_prod_iff in Hz. apply Hp; apply Hz.
  - apply Q_sum; exact p_table.
Qed.

(** ## Where it fails: batches *)

Theorem NWJ_batch_eq N f : (1 <= N)%nat -> NWJ_batch N f = NWJ f.
Proof.
  intros HN. unfold NWJ_batch, NWJ. do 2 f_equal.
  rewrite E_scal, E_linear by (apply Q_sum; exact p_table). field. apply not_0_INR. lia.
Qed.

Theorem DV_batch_above N f : (1 <= N)%nat -> DV f <= DV_batch N f.
Proof.
  intros HN. assert (HN0 : 0 < / INR N) by (apply Rinv_0_lt_compat, lt_0_INR; lia).
  unfold DV_batch, DV.
  assert (HJ : E cells Q N (fun t => ln (/ INR N * (∑ z ∈ t, exp (f z))))
    <= ln (∑ z ∈ cells, Q z * exp (f z))); [|lra].
  rewrite <- (ln_exp (E _ _ _ _)). apply ln_le'; [apply exp_pos|].
  eapply Rle_trans; [apply E_jensen; [apply Q_nonneg|apply Q_sum]; exact p_table|].
  right. rewrite (E_ext _ _ N _ (fun t => / INR N * (∑ z ∈ t, exp (f z)))).
  - rewrite E_scal, E_linear by (apply Q_sum; exact p_table). field. apply not_0_INR. lia.
  - intros t Ht. apply exp_ln, Rmult_lt_0_compat; [exact HN0|].
    destruct t as [|z t]; [simpl in Ht; lia|]. simpl. pose proof (exp_pos (f z)).
    assert (0 <= ∑ z ∈ t, exp (f z)) by (apply sum_nonneg; intros; left; apply exp_pos). lra.
Qed.
End Table.

(** ## Known values and false twins *)

(** A constant score gives zero: the classifier that cannot tell the two laws apart. *)
Lemma DV_const {X Y} (xs : list X) (ys : list Y) p c : table xs ys p -> DV xs ys p (fun _ => c) = 0.
Proof.
  intros Hp. unfold DV. rewrite !sum_scal_r, P_sum, Q_sum by exact Hp.
  rewrite !Rmult_1_l, ln_exp. lra.
Qed.

(** The table with one letter a side has no information. *)
Lemma one_letter : table [tt] [tt] (fun _ _ => 1) /\ I [tt] [tt] (fun _ _ => 1) = 0.
Proof.
  split; [split; [intros; lra|simpl; ring]|].
  unfold I, px, py; simpl. replace (1 / ((1 + 0) * (1 + 0))) with 1 by field. rewrite ln_1. ring.
Qed.

(** NWJ with 1/3 in place of 1/e is not a bound: on one letter the score ln 3 gives ln 3 - 1 > 0. *)
Theorem NWJ_twin : ~ forall (X Y : Type) (xs : list X) (ys : list Y) p f, table xs ys p ->
  ∑ z ∈ cells xs ys, P p z * f z - / 3 * (∑ z ∈ cells xs ys, Q xs ys p z * exp (f z)) <= I xs ys p.
Proof.
  intros HF. destruct one_letter as [Ht HI].
  specialize (HF _ _ _ _ _ (fun _ => ln 3) Ht). rewrite HI in HF.
  unfold Q, P, px, py, cells in HF. simpl in HF. rewrite exp_ln in HF by lra.
  assert (1 < ln 3); [|lra]. rewrite <- (ln_exp 1). apply ln_increasing; [apply exp_pos|].
  assert (He : exp (-1/4) > 77/100).
  { pose proof (exp_ineq1 (-1/8) ltac:(lra)). replace (-1/4) with (-1/8 + -1/8) by field.
    rewrite exp_plus. assert (exp (-1/8) > 0) by apply exp_pos.
    pose proof (exp_ineq1 (-1/32) ltac:(lra)) as H1.
    replace (-1/8) with (-1/32 + -1/32 + (-1/32 + -1/32)) in * by field.
    rewrite !exp_plus in *. set (a := exp (-1/32)) in *.
    assert (a > 968/1000) by lra. assert (a * a > 937/1000) by nra.
    assert (a * a * (a * a) > 877/1000) by nra. nra. }
  assert (exp (-1/2) > 59/100).
  { replace (-1/2) with (-1/4 + -1/4) by field. rewrite exp_plus. nra. }
  assert (exp (-1) > 34/100).
  { replace (-1) with (-1/2 + -1/2) by field. rewrite exp_plus. nra. }
  assert (exp (-1) * exp 1 = 1)
    by (rewrite <- exp_plus; replace (-1 + 1) with 0 by ring; apply exp_0).
  pose proof (exp_pos 1). nra.
Qed.
